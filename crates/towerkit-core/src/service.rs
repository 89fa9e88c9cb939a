use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use crate::{
    Bypass, Call, InFlightCall, PolicyShape, Protocol, RejectWith, RunPolicy, SharedPolicies,
    TrackResponse,
    backpressure::Readiness,
    in_flight_call::FinishOnPanic,
    run_policy::{Started, assert_needs_end},
};

/// The service of a [`PolicyLayer`](crate::PolicyLayer): runs a stack of policies around the inner service.
///
/// # Readiness
///
/// Guards decide in `call`, so that a service that is ready but never called holds no permit. Readiness is that of the inner
/// service, with two exceptions:
///
/// - If a guard has an [`early_rejection`](crate::Guard::early_rejection), `poll_ready` is ready without polling the inner service,
///   and the next `call` is rejected. The outer policies observe that call.
/// - While a guard applies [`backpressure`](crate::Guard::backpressure), `poll_ready` is pending.
///
/// If a call is rejected after the inner service was polled ready, this instance stays ready for its next call. It holds at most
/// one slot of the inner service, until its next call or its drop.
///
/// # Clones
///
/// Clones share the policies and their state. A clone is not ready before it is polled.
pub struct PolicyService<S, R: PolicyShape, P> {
    inner: S,
    policies: SharedPolicies<R>,
    protocol: P,
    readiness: Readiness<R::Rejection>,
}

impl<S, R: PolicyShape, P> PolicyService<S, R, P> {
    pub(crate) fn new(inner: S, policies: SharedPolicies<R>, protocol: P) -> Self {
        const { assert_needs_end::<R>() };
        Self {
            inner,
            policies,
            protocol,
            readiness: Readiness::new(),
        }
    }
}

impl<S: Clone, R: PolicyShape, P: Clone> Clone for PolicyService<S, R, P> {
    #[inline(always)]
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            policies: self.policies.clone(),
            protocol: self.protocol.clone(),
            readiness: Readiness::new(),
        }
    }
}

impl<S: fmt::Debug, R: PolicyShape, P> fmt::Debug for PolicyService<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, R, P, Req> Service<Req> for PolicyService<S, R, P>
where
    S: Service<Req>,
    R: RunPolicy<Req>,
    P: Protocol<Req>,
    P::Exchange: RejectWith<S::Response, S::Error, R::Rejection>,
{
    type Response = <P::Exchange as TrackResponse<S::Response, S::Error>>::Response<R>;
    type Error = S::Error;
    type Future = PolicyFuture<S::Future, R, P::Exchange>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let policies = &*self.policies;
        let asked = self.readiness.poll(
            cx,
            || policies.backpressure(),
            || policies.early_rejection(),
        );
        if ready!(asked) {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let call = Call::new(&mut request, &self.protocol);
        let exchange = self.protocol.open(call.request, call.protocol_kind());
        match start(&*self.policies, &mut self.readiness, call) {
            Ok(state) => {
                let in_flight_call = InFlightCall::new(&self.policies, state);
                PolicyFuture::run(in_flight_call, exchange, || self.inner.call(request))
            }
            Err(rejection) => PolicyFuture::rejected(rejection, exchange),
        }
    }
}

impl<S, R, P, Req> Bypass<Req> for PolicyService<S, R, P>
where
    S: Service<Req>,
    R: RunPolicy<Req>,
    P: Protocol<Req>,
    P::Exchange: RejectWith<S::Response, S::Error, R::Rejection>,
{
    #[inline(always)]
    fn poll_ready_for_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        PolicyFuture::run(InFlightCall::none(), exchange, || self.inner.call(request))
    }
}

/// Starts the call, unless a guard had an early rejection when the service was polled ready.
#[inline(always)]
fn start<Req, R: RunPolicy<Req>>(
    policies: &R,
    readiness: &mut Readiness<R::Rejection>,
    mut call: Call<'_, Req>,
) -> Result<R::CallState, Box<R::Rejection>> {
    match policies.start(&mut call) {
        Ok(state) if readiness.is_open() => Ok(state),
        started => reject_or_state(policies, readiness, started, call),
    }
}

/// Rejects the call and finishes the policies that have started, or returns their state if there is no early rejection.
#[cold]
#[inline(never)]
fn reject_or_state<Req, R: RunPolicy<Req>>(
    policies: &R,
    readiness: &mut Readiness<R::Rejection>,
    started: Result<R::CallState, R::Rejection>,
    mut call: Call<'_, Req>,
) -> Result<R::CallState, Box<R::Rejection>> {
    let early_rejection = readiness.take_rejection();
    let state = started.map_err(Box::new)?;
    match early_rejection {
        None => Ok(state),
        Some(rejection) => {
            // The inner service was not polled ready: the call is rejected even if the guard would admit calls again.
            Err(Box::new(
                Started::new(policies, state).finish_rejected(rejection, &mut call),
            ))
        }
    }
}

/// The future of a [`PolicyService`], and of a driver that [starts](InFlightCall::start) policies itself.
///
/// It polls the inner future, reads its result by the exchange `X` of the [protocol](Protocol::Exchange), and finishes the policies
/// once, also if a poll panics. Dropping it cancels the call: it drops the inner future and then finishes the policies as
/// [cancelled](crate::Outcome::Cancelled).
#[pin_project(PinnedDrop)]
pub struct PolicyFuture<F, R: PolicyShape, X> {
    #[pin]
    inner: Option<F>,
    /// Boxed, so that the future of an admitted call has no space for it.
    rejected: Rejected<R::Rejection>,
    in_flight_call: InFlightCall<R>,
    exchange: X,
}

impl<F, R: PolicyShape, X> PolicyFuture<F, R, X> {
    /// Calls the inner service by `call`, inside of [`Policy::wrap_poll`](crate::Policy::wrap_poll), and makes the future of that call.
    ///
    /// Open the exchange before the policies start, because they may change the request.
    #[inline(always)]
    pub fn run(mut in_flight_call: InFlightCall<R>, exchange: X, call: impl FnOnce() -> F) -> Self {
        let inner = in_flight_call.poll_with(call);
        Self {
            inner: Some(inner),
            rejected: Rejected(None),
            in_flight_call,
            exchange,
        }
    }

    /// Makes the future of a call that is rejected: it is ready with the answer.
    #[cold]
    pub fn rejected(rejection: Box<R::Rejection>, exchange: X) -> Self {
        let mut future = Self::not_started(exchange);
        future.rejected.0 = Some(rejection);
        future
    }

    /// Makes the future of a call that is [started](Self::start) or [rejected](Self::reject) later. It must not be polled before.
    #[cold]
    pub fn not_started(exchange: X) -> Self {
        Self {
            inner: None,
            rejected: Rejected(None),
            in_flight_call: InFlightCall::none(),
            exchange,
        }
    }

    /// Starts the call of a future that is [not started](Self::not_started) yet; see [`run`](Self::run).
    pub fn start(self: Pin<&mut Self>, in_flight_call: InFlightCall<R>, call: impl FnOnce() -> F) {
        let mut this = self.project();
        *this.in_flight_call = in_flight_call;
        let inner = this.in_flight_call.poll_with(call);
        this.inner.set(Some(inner));
    }

    /// Rejects the call of a future that is [not started](Self::not_started) yet.
    pub fn reject(self: Pin<&mut Self>, rejection: Box<R::Rejection>) {
        self.project().rejected.0 = Some(rejection);
    }
}

impl<F, R, X, T, E> Future for PolicyFuture<F, R, X>
where
    F: Future<Output = Result<T, E>>,
    R: PolicyShape,
    X: RejectWith<T, E, R::Rejection>,
{
    type Output = Result<X::Response<R>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let Some(inner) = me.inner.as_mut().as_pin_mut() else {
            let rejection = me.rejected.0.take().expect("not polled after completion");
            return Poll::Ready(me.exchange.reject_with(*rejection));
        };
        let result = if InFlightCall::<R>::IS_TRACKED {
            let inner = me.inner.as_mut();
            ready!(me.in_flight_call.poll_with(|| poll_and_drop(inner, cx)))
        } else {
            ready!(inner.poll(cx))
        };
        Poll::Ready(track_result(result, me.in_flight_call, &*me.exchange))
    }
}

/// Reads the result of a call. If it panics, the call is finished as a failure and the panic continues.
#[inline(always)]
fn track_result<T, E, R: PolicyShape, X: RejectWith<T, E, R::Rejection>>(
    result: Result<T, E>,
    in_flight_call: &mut InFlightCall<R>,
    exchange: &X,
) -> Result<X::Response<R>, E> {
    if !InFlightCall::<R>::IS_TRACKED {
        return exchange.track_result(result, in_flight_call);
    }
    let guard = FinishOnPanic(in_flight_call);
    let result = exchange.track_result(result, guard.0);
    mem::forget(guard);
    result
}

/// Polls the inner future and, once it is ready, drops it before the policies are finished.
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
impl<F, R: PolicyShape, X> PinnedDrop for PolicyFuture<F, R, X> {
    #[inline(always)]
    fn drop(self: Pin<&mut Self>) {
        let mut me = self.project();
        if me.in_flight_call.is_active() {
            me.in_flight_call.poll_with(|| me.inner.set(None));
        }
    }
}

impl<F, R: PolicyShape, X> fmt::Debug for PolicyFuture<F, R, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFuture").finish_non_exhaustive()
    }
}

/// The rejection of a call that was not admitted. Its drop is one comparison for an admitted call.
struct Rejected<R>(Option<Box<R>>);

impl<R> Drop for Rejected<R> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            drop_rejection(&mut self.0);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_rejection<R>(rejection: &mut Option<Box<R>>) {
    *rejection = None;
}
