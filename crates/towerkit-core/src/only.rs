use std::{
    any::{Any, TypeId},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tower_layer::Layer;

use crate::{
    Admission, Backpressure, Call, Deadline, Describe, End, Fields, IntoRole, LayerExt, Operations,
    Policy, Protocol, ProtocolKind, Reason, Repeat, Role, Shape, Status, TargetUri, WaitingRole,
};

/// A layer that is applied to some operations only, made by [`LayerExt::only`].
///
/// It fits guards, observers and drivers alike, around a service and inside a row.
///
/// # Readiness
///
/// Which operation is called is not known before the call, so that a guard that is shut no longer answers ready at once: the inner
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
    L: LayerExt<Protocol: Clone> + Clone,
    L::With<Selecting<L::Protocol>>: Layer<S>,
{
    type Service = <L::With<Selecting<L::Protocol>> as Layer<S>>::Service;

    fn layer(&self, inner: S) -> Self::Service {
        let protocol = Selecting {
            protocol: self.layer.said().clone(),
            operations: self.operations.clone(),
        };
        self.layer.clone().protocol(protocol).layer(inner)
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

/// A protocol that selects calls by their operation.
#[derive(Debug, Clone)]
pub struct Selecting<P> {
    protocol: P,
    operations: Operations,
}

impl<Req, P: Describe<Req>> Describe<Req> for Selecting<P> {
    #[inline(always)]
    fn kind(&self, request: &Req) -> ProtocolKind {
        self.protocol.kind(request)
    }

    #[inline(always)]
    fn operation<'a>(&'a self, request: &'a Req, kind: ProtocolKind) -> &'a str {
        self.protocol.operation(request, kind)
    }

    fn is_routed(&self, request: &Req, kind: ProtocolKind) -> bool {
        self.protocol.is_routed(request, kind)
    }

    #[inline(always)]
    fn method<'a>(&self, request: &'a Req) -> Option<&'a str> {
        self.protocol.method(request)
    }

    fn path<'a>(&self, request: &'a Req) -> Option<&'a str> {
        self.protocol.path(request)
    }

    fn target<'a>(&self, request: &'a Req) -> Option<TargetUri<'a>> {
        self.protocol.target(request)
    }

    fn peer(&self, request: &Req) -> Option<SocketAddr> {
        self.protocol.peer(request)
    }

    fn part<'a>(&self, request: &'a Req, part: TypeId) -> Option<&'a dyn Any> {
        self.protocol.part(request, part)
    }

    #[inline(always)]
    fn field<'a>(&self, request: &'a Req, name: &str) -> Option<&'a str> {
        self.protocol.field(request, name)
    }

    fn each_field<'a>(&self, request: &'a Req, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        self.protocol.each_field(request, name, visit);
    }

    fn set_field(&self, request: &mut Req, name: &'static str, value: &str) {
        self.protocol.set_field(request, name, value);
    }

    fn remove_field(&self, request: &mut Req, name: &'static str) {
        self.protocol.remove_field(request, name);
    }

    #[inline(always)]
    fn deadline(&self, request: &Req) -> Option<Deadline> {
        self.protocol.deadline(request)
    }

    fn set_deadline(&self, request: &mut Req, deadline: Deadline) {
        self.protocol.set_deadline(request, deadline);
    }

    fn refusal_status(&self, kind: ProtocolKind, reason: Reason) -> Option<Status> {
        self.protocol.refusal_status(kind, reason)
    }

    fn refusal_bytes(&self, request: &Req, kind: ProtocolKind, reason: Reason) -> u64 {
        self.protocol.refusal_bytes(request, kind, reason)
    }
}

impl<Req, P: Protocol<Req>> Protocol<Req> for Selecting<P> {
    type Exchange = P::Exchange;
    const SELECTS: bool = true;

    fn selects(&self, request: &Req, kind: ProtocolKind) -> bool {
        self.protocol.selects(request, kind)
            && self.operations.contains(self.operation(request, kind))
    }

    #[inline(always)]
    fn open(&self, request: &Req, kind: ProtocolKind) -> P::Exchange {
        self.protocol.open(request, kind)
    }
}

impl<Req, P: Repeat<Req>> Repeat<Req> for Selecting<P> {
    type Attempt = P::Attempt;
    type Kept = P::Kept;

    fn is_idempotent(&self, request: &Req) -> Option<bool> {
        self.protocol.is_idempotent(request)
    }

    fn once(&self, request: Req) -> P::Attempt {
        self.protocol.once(request)
    }

    fn keep(&self, request: Req, cap: usize) -> (P::Attempt, Option<P::Kept>) {
        self.protocol.keep(request, cap)
    }

    fn again(&self, kept: &mut P::Kept) -> Option<P::Attempt> {
        self.protocol.again(kept)
    }

    fn stamp(&self, attempt: &mut P::Attempt, name: &'static str, value: &str) {
        self.protocol.stamp(attempt, name, value);
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
