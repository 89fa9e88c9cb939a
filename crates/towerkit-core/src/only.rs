use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Admission, Backpressure, Call, End, Fields, IntoRole, LayerExt, Operations, Policy, Protocol,
    Role, Shape, WaitingRole,
};

/// A middleware around which calls can pass as if it was not there: what [`LayerExt::only`] asks of a layer's service.
///
/// The service of a guard or an observer implements it. A driver implements it to have `.only(..)`; it is never asked which calls
/// it looks after. One that does not implement it does not compile there:
///
/// ```compile_fail,E0599
/// use tower::{Layer, Service, service_fn};
/// use towerkit_core::{LayerExt, Operations, Plain, Rejection};
///
/// #[derive(Clone)]
/// struct Driver<P>(P);
///
/// impl<P> LayerExt for Driver<P> {
///     type Protocol = P;
///     type With<Q> = Driver<Q>;
///     fn said(&self) -> &P { &self.0 }
///     fn protocol<Q>(self, protocol: Q) -> Driver<Q> { Driver(protocol) }
/// }
///
/// impl<S, P> Layer<S> for Driver<P> {
///     type Service = tower::util::MapRequest<S, fn(u32) -> u32>;
///     fn layer(&self, inner: S) -> Self::Service { tower::util::MapRequest::new(inner, |n| n + 1) }
/// }
///
/// let layer = Driver(Plain::new("add")).only(Operations::exact("add"));
/// let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, Rejection>(n) }));
/// let _ = service.call(1);
/// ```
#[diagnostic::on_unimplemented(
    message = "calls of type `{Req}` cannot pass `{Self}` by",
    label = "`.only(..)` needs a way around this service",
    note = "implement `towerkit_core::Bypass` for the service"
)]
pub trait Bypass<Req>: Service<Req> {
    /// Gets ready for a call that may take either way: for [`call`](Service::call) or for [`bypass`](Self::bypass).
    ///
    /// The same as [`poll_ready`](Service::poll_ready), unless that can be ready while the inner service is not.
    fn poll_ready_for_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_ready(cx)
    }

    /// Calls the inner service, and does nothing else.
    fn bypass(&mut self, request: Req) -> Self::Future;
}

/// A layer that is applied to some operations only, made by [`LayerExt::only`].
///
/// It fits guards, observers and drivers alike, around a service and inside a row.
///
/// # Readiness
///
/// The operation is not known before the call. So a guard that is shut, or holds a load balancer back, is not asked: the inner
/// service is polled, and a call that the guard looks after is refused in `call`.
#[derive(Debug, Clone)]
pub struct Only<L> {
    layer: L,
    operations: Operations,
}

impl<L> Only<L> {
    pub(crate) fn new(layer: L, operations: Operations) -> Self {
        Self { layer, operations }
    }
}

impl<L: LayerExt> LayerExt for Only<L> {
    type Protocol = L::Protocol;
    type With<Q> = Only<L::With<Q>>;

    fn said(&self) -> &L::Protocol {
        self.layer.said()
    }

    fn protocol<Q>(self, protocol: Q) -> Only<L::With<Q>> {
        Only::new(self.layer.protocol(protocol), self.operations)
    }
}

impl<S, L> Layer<S> for Only<L>
where
    L: LayerExt<Protocol: Clone> + Layer<S>,
{
    type Service = OnlyService<L::Service, L::Protocol>;

    fn layer(&self, inner: S) -> Self::Service {
        OnlyService {
            service: self.layer.layer(inner),
            protocol: self.layer.said().clone(),
            operations: self.operations.clone(),
        }
    }
}

impl<L: IntoRole> IntoRole for Only<L>
where
    Selected<L::Role>: Shape,
{
    type Role = Selected<L::Role>;

    fn into_role(self) -> Selected<L::Role> {
        Selected {
            role: self.layer.into_role(),
            operations: self.operations,
        }
    }
}

/// The service of an [`Only`]: leads each call through the middleware, or around it.
///
/// Both ways lead to the same inner service, whose one readiness they share.
#[derive(Debug, Clone)]
pub struct OnlyService<S, P> {
    service: S,
    protocol: P,
    operations: Operations,
}

impl<S, P, Req> Service<Req> for OnlyService<S, P>
where
    S: Bypass<Req>,
    P: Protocol<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready_for_bypass(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> S::Future {
        let kind = self.protocol.kind(&request);
        let operation = self.protocol.operation(&request, kind);
        if self.operations.contains(operation) {
            self.service.call(request)
        } else {
            self.service.bypass(request)
        }
    }
}

impl<S, P, Req> Bypass<Req> for OnlyService<S, P>
where
    S: Bypass<Req>,
    P: Protocol<Req>,
{
    #[inline(always)]
    fn bypass(&mut self, request: Req) -> S::Future {
        self.service.bypass(request)
    }
}

/// A role that looks after some operations only.
#[derive(Debug, Clone)]
pub struct Selected<R> {
    role: R,
    operations: Operations,
}

impl<R> Selected<R> {
    fn selects<Req>(&self, call: &Call<'_, Req>) -> bool {
        self.operations.contains(call.operation())
    }
}

impl<R: Policy> Policy for Selected<R> {
    type Held = Option<R::Held>;
    const ENTERS: bool = R::ENTERS;
    const FOLLOWS: bool = R::FOLLOWS;

    #[inline(always)]
    fn enter<T>(&self, held: &mut Self::Held, poll: impl FnOnce() -> T) -> T {
        match held {
            Some(held) => self.role.enter(held, poll),
            None => poll(),
        }
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::Held, so_far: &End) {
        if let Some(held) = held {
            self.role.head(held, so_far);
        }
    }

    #[inline(always)]
    fn annotate(&self, held: &Self::Held, fields: &mut dyn Fields) {
        if let Some(held) = held {
            self.role.annotate(held, fields);
        }
    }

    #[inline(always)]
    fn finish(&self, held: Self::Held, end: &End) {
        if let Some(held) = held {
            self.role.finish(held, end);
        }
    }
}

impl<R: Shape> Shape for Selected<R> {
    type Refusal = R::Refusal;
    type Pace = R::Pace;
    type NeedsEnd = R::NeedsEnd;
}

impl<Req, R: Role<Req>> Role<Req> for Selected<R> {
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Self::Refusal> {
        if self.selects(call) {
            self.role.begin(call).map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline(always)]
    fn shut(&self) -> Option<Self::Refusal> {
        None
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

impl<Req, R: WaitingRole<Req>> WaitingRole<Req> for Selected<R> {
    type Wait = R::Wait;

    fn begin(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::Held, R::Wait>, Self::Refusal> {
        if !self.selects(call) {
            return Ok(Admission::Now(None));
        }
        Ok(match self.role.begin(call)? {
            Admission::Now(held) => Admission::Now(Some(held)),
            Admission::Later(wait) => Admission::Later(wait),
        })
    }

    fn poll_wait(
        &self,
        wait: Pin<&mut R::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::Held, Self::Refusal>> {
        self.role.poll_wait(wait, cx, call).map_ok(Some)
    }

    fn abandon(&self, wait: Pin<&mut R::Wait>, end: &End) {
        self.role.abandon(wait, end);
    }

    fn shut(&self) -> Option<Self::Refusal> {
        None
    }

    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}
