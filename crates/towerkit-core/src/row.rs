use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use crate::{
    Answer, Armed, Bypass, Call, Follow, Protocol, Role, Shape, Shared,
    backpressure::Readiness,
    role::{Begun, needs_end_if_it_follows},
};

/// Whether a row decides at once or may have to wait, and so which middleware runs it.
pub trait Pace: Sized {
    /// The pace of a row that holds roles of both paces.
    type With<B: Pace>: Pace;
    /// The middleware.
    type Service<S, R: Shape, P>;
    /// Makes the middleware.
    fn service<S, R: Shape, P>(inner: S, roles: Shared<R>, protocol: P) -> Self::Service<S, R, P>;
}

/// The pace of a row that decides at once.
#[derive(Debug)]
pub enum Immediate {}

impl Pace for Immediate {
    type With<B: Pace> = B;
    type Service<S, R: Shape, P> = Row<S, R, P>;

    fn service<S, R: Shape, P>(inner: S, roles: Shared<R>, protocol: P) -> Row<S, R, P> {
        const { needs_end_if_it_follows::<R>() };
        Row {
            inner,
            roles,
            protocol,
            readiness: Readiness::new(),
        }
    }
}

/// The middleware that runs a row of roles around a service.
///
/// # Readiness
///
/// Admission happens in `call`: a service that is ready but never called holds nothing of the roles. While a guard is shut,
/// `poll_ready` answers ready without polling the inner service, and `call` refuses; outer roles still see that call.
///
/// While a guard [holds the row back](crate::Guard::backpressure), for a load balancer outside, `poll_ready` is pending.
///
/// A call that is refused although the inner service was polled ready leaves that readiness in this instance, for its next call or
/// its drop: one slot of the inner service at most.
///
/// # Clones
///
/// Share the roles and their state. A clone starts unready.
pub struct Row<S, R: Shape, P> {
    inner: S,
    roles: Shared<R>,
    protocol: P,
    readiness: Readiness<R::Refusal>,
}

impl<S: Clone, R: Shape, P: Clone> Clone for Row<S, R, P> {
    #[inline(always)]
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            roles: self.roles.clone(),
            protocol: self.protocol.clone(),
            readiness: Readiness::new(),
        }
    }
}

impl<S: fmt::Debug, R: Shape, P> fmt::Debug for Row<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, R, P, Req> Service<Req> for Row<S, R, P>
where
    S: Service<Req>,
    R: Role<Req>,
    P: Protocol<Req>,
    P::Exchange: Answer<S::Response, S::Error, R::Refusal>,
{
    type Response = <P::Exchange as Follow<S::Response, S::Error>>::Response<R>;
    type Error = S::Error;
    type Future = RowFuture<S::Future, R, P::Exchange>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let roles = &*self.roles;
        let asked = self
            .readiness
            .poll(cx, || roles.backpressure(), || roles.shut());
        if ready!(asked) {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let call = Call::new(&mut request, &self.protocol);
        let exchange = self.protocol.open(call.request, call.protocol());
        match begin(&*self.roles, &mut self.readiness, call) {
            Ok(held) => {
                let armed = Armed::new(&self.roles, held);
                RowFuture::run(armed, exchange, || self.inner.call(request))
            }
            Err(refusal) => RowFuture::refused(refusal, exchange),
        }
    }
}

impl<S, R, P, Req> Bypass<Req> for Row<S, R, P>
where
    S: Service<Req>,
    R: Role<Req>,
    P: Protocol<Req>,
    P::Exchange: Answer<S::Response, S::Error, R::Refusal>,
{
    #[inline(always)]
    fn poll_ready_for_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        RowFuture::run(Armed::none(), exchange, || self.inner.call(request))
    }
}

/// Starts the call, unless the guard was shut when the row was asked whether it is ready.
#[inline(always)]
fn begin<Req, R: Role<Req>>(
    roles: &R,
    readiness: &mut Readiness<R::Refusal>,
    mut call: Call<'_, Req>,
) -> Result<R::Held, Box<R::Refusal>> {
    match roles.begin(&mut call) {
        Ok(held) if readiness.is_open() => Ok(held),
        begun => turn_away(roles, readiness, begun, call),
    }
}

/// Refuses the call, and finishes the roles that had begun.
#[cold]
#[inline(never)]
fn turn_away<Req, R: Role<Req>>(
    roles: &R,
    readiness: &mut Readiness<R::Refusal>,
    begun: Result<R::Held, R::Refusal>,
    call: Call<'_, Req>,
) -> Result<R::Held, Box<R::Refusal>> {
    let shut = readiness.take_refusal();
    let held = begun.map_err(Box::new)?;
    match shut {
        None => Ok(held),
        Some(refusal) => {
            // The inner service was not polled ready, so that the call is refused even if the guard has opened since.
            Err(Box::new(Begun::new(roles, held).turn_away(refusal, &call)))
        }
    }
}

/// The future of a [`Row`].
///
/// Dropping it cancels the call: the inner future is dropped first, inside the roles, and the roles are finished as cancelled.
#[pin_project(PinnedDrop)]
pub struct RowFuture<F, R: Shape, X> {
    #[pin]
    inner: Option<F>,
    /// Boxed, so that the future of an admitted call keeps no room for it.
    refused: Refused<R::Refusal>,
    armed: Armed<R>,
    exchange: X,
}

impl<F, R: Shape, X> RowFuture<F, R, X> {
    #[inline(always)]
    pub(crate) fn run(mut armed: Armed<R>, exchange: X, call: impl FnOnce() -> F) -> Self {
        let inner = armed.watch(call);
        Self {
            inner: Some(inner),
            refused: Refused(None),
            armed,
            exchange,
        }
    }

    #[cold]
    pub(crate) fn refused(refusal: Box<R::Refusal>, exchange: X) -> Self {
        Self {
            inner: None,
            refused: Refused(Some(refusal)),
            armed: Armed::none(),
            exchange,
        }
    }
}

impl<F, R, X, T, E> Future for RowFuture<F, R, X>
where
    F: Future<Output = Result<T, E>>,
    R: Shape,
    X: Answer<T, E, R::Refusal>,
{
    type Output = Result<X::Response<R>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let Some(inner) = me.inner.as_mut().as_pin_mut() else {
            let refusal = me.refused.0.take().expect("not polled after completion");
            return Poll::Ready(me.exchange.answer(*refusal));
        };
        let result = if Armed::<R>::MATTERS {
            let inner = me.inner.as_mut();
            ready!(me.armed.watch(|| poll_and_drop(inner, cx)))
        } else {
            ready!(inner.poll(cx))
        };
        let exchange = me.exchange;
        Poll::Ready(me.armed.guarded(|armed| exchange.conclude(result, armed)))
    }
}

/// Polls the inner future and, once it is ready, drops it before the roles are finished.
fn poll_and_drop<F: Future>(
    mut inner: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    let running = inner.as_mut().as_pin_mut();
    let output = ready!(running.expect("polled while it runs").poll(cx));
    inner.set(None);
    Poll::Ready(output)
}

#[pinned_drop]
impl<F, R: Shape, X> PinnedDrop for RowFuture<F, R, X> {
    #[inline(always)]
    fn drop(self: Pin<&mut Self>) {
        let mut me = self.project();
        if me.armed.is_armed() {
            me.armed.watch(|| me.inner.set(None));
        }
    }
}

impl<F, R: Shape, X> fmt::Debug for RowFuture<F, R, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowFuture").finish_non_exhaustive()
    }
}

/// The refusal of a call that was not admitted, whose drop is one look where there is none.
struct Refused<R>(Option<Box<R>>);

impl<R> Drop for Refused<R> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            drop_refusal(&mut self.0);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_refusal<R>(refusal: &mut Option<Box<R>>) {
    *refusal = None;
}
