use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use crate::{
    Admission, Bypass, Call, CallEnd, InFlightCall, PolicyShape, Protocol, RejectWith,
    SharedPolicies, TrackResponse, backpressure::Readiness, run_async_policy::RunAsyncPolicy,
    run_policy::Started, run_policy::assert_needs_end, service::PolicyFuture,
};

/// The service of a [`PolicyLayer`](crate::PolicyLayer) in which a policy may wait.
///
/// Apart from the wait it does the same as [`PolicyService`](crate::PolicyService). It needs `Clone` of the inner service and of
/// the protocol.
///
/// # Readiness
///
/// As for [`PolicyService`](crate::PolicyService). A call that waits first releases the readiness of the inner service. Once it is
/// admitted, it polls a clone of the inner service ready.
pub struct AsyncPolicyService<S, R: PolicyShape, P> {
    inner: S,
    policies: SharedPolicies<R>,
    protocol: P,
    readiness: Readiness<R::Rejection>,
}

impl<S, R: PolicyShape, P> AsyncPolicyService<S, R, P> {
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

impl<S: Clone, R: PolicyShape, P: Clone> Clone for AsyncPolicyService<S, R, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            policies: self.policies.clone(),
            protocol: self.protocol.clone(),
            readiness: Readiness::new(),
        }
    }
}

impl<S: fmt::Debug, R: PolicyShape, P> fmt::Debug for AsyncPolicyService<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncPolicyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, R, P, Req> Service<Req> for AsyncPolicyService<S, R, P>
where
    S: Service<Req> + Clone,
    R: RunAsyncPolicy<Req>,
    P: Protocol<Req> + Clone,
    P::Exchange: RejectWith<S::Response, S::Error, R::Rejection>,
{
    type Response = <P::Exchange as TrackResponse<S::Response, S::Error>>::Response<R>;
    type Error = S::Error;
    type Future = AsyncPolicyFuture<S, R, P, Req>;

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

    fn call(&mut self, mut request: Req) -> Self::Future {
        let mut call = Call::new(&mut request, &self.protocol);
        let exchange = self.protocol.open(call.request, call.protocol_kind());
        let state = match self.policies.start(&mut call) {
            Err(rejection) => State::Running(PolicyFuture::rejected(Box::new(rejection), exchange)),
            Ok(Admission::Later(wait)) => State::Waiting(Wait {
                wait,
                policies: Some(self.policies.clone()),
                parked: Some(self.park(request, exchange)),
            }),
            Ok(Admission::Now(call_state)) => {
                if let Some(rejection) = self.readiness.take_rejection() {
                    // As in `PolicyService`, the inner service was not polled ready. A call that waits polls a clone of its own.
                    let started = Started::new(&*self.policies, call_state);
                    let rejection = started.finish_rejected(rejection, &mut call);
                    State::Running(PolicyFuture::rejected(Box::new(rejection), exchange))
                } else {
                    let in_flight_call = InFlightCall::new(&self.policies, call_state);
                    State::Running(PolicyFuture::run(in_flight_call, exchange, || {
                        self.inner.call(request)
                    }))
                }
            }
        };
        AsyncPolicyFuture { state }
    }
}

impl<S, R, P, Req> Bypass<Req> for AsyncPolicyService<S, R, P>
where
    S: Service<Req> + Clone,
    R: RunAsyncPolicy<Req>,
    P: Protocol<Req> + Clone,
    P::Exchange: RejectWith<S::Response, S::Error, R::Rejection>,
{
    fn poll_ready_for_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        let run = PolicyFuture::run(InFlightCall::none(), exchange, || self.inner.call(request));
        AsyncPolicyFuture {
            state: State::Running(run),
        }
    }
}

impl<S: Clone, R: PolicyShape, P: Clone> AsyncPolicyService<S, R, P> {
    /// Stores a call that waits. Drops the instance that is ready, so that the call holds no slot of the inner service.
    fn park<Req>(&mut self, request: Req, exchange: P::Exchange) -> Parked<S, P, Req>
    where
        P: Protocol<Req>,
    {
        let fresh = self.inner.clone();
        Parked {
            inner: mem::replace(&mut self.inner, fresh).clone(),
            request,
            exchange,
            protocol: self.protocol.clone(),
        }
    }
}

/// The request of a call that waits, and the clones that it needs later.
struct Parked<S, P: Protocol<Req>, Req> {
    inner: S,
    request: Req,
    exchange: P::Exchange,
    protocol: P,
}

/// The future of an [`AsyncPolicyService`].
///
/// Dropping it cancels the call: it drops the wait or the inner future, and then finishes the policies that have started as
/// [cancelled](crate::Outcome::Cancelled).
#[pin_project]
pub struct AsyncPolicyFuture<S, R, P, Req>
where
    S: Service<Req>,
    R: RunAsyncPolicy<Req>,
    P: Protocol<Req>,
{
    #[pin]
    state: State<S, R, P, Req>,
}

#[pin_project(project = StateProj)]
enum State<S, R, P, Req>
where
    S: Service<Req>,
    R: RunAsyncPolicy<Req>,
    P: Protocol<Req>,
{
    Waiting(#[pin] Wait<S, R, P, Req>),
    /// The inner service is the first field, since it is dropped before the policies are finished.
    Readying(Option<(Parked<S, P, Req>, InFlightCall<R>)>),
    Running(#[pin] PolicyFuture<S::Future, R, P::Exchange>),
}

#[pin_project(PinnedDrop)]
struct Wait<S, R: RunAsyncPolicy<Req>, P: Protocol<Req>, Req> {
    #[pin]
    wait: R::Wait,
    policies: Option<SharedPolicies<R>>,
    parked: Option<Parked<S, P, Req>>,
}

#[pinned_drop]
impl<S, R: RunAsyncPolicy<Req>, P: Protocol<Req>, Req> PinnedDrop for Wait<S, R, P, Req> {
    fn drop(self: Pin<&mut Self>) {
        let me = self.project();
        if let Some(policies) = me.policies.take() {
            drop(me.parked.take());
            policies.cancel_wait(me.wait, &CallEnd::cancelled());
        }
    }
}

type Decided<S, R, P, Req> = (
    Result<InFlightCall<R>, <R as PolicyShape>::Rejection>,
    Parked<S, P, Req>,
);

impl<S, R: RunAsyncPolicy<Req>, P: Protocol<Req>, Req> Wait<S, R, P, Req> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decided<S, R, P, Req>> {
        let mut me = self.project();
        let parked = me.parked.as_mut().expect("parked while it waits");
        let mut call = Call::new(&mut parked.request, &parked.protocol);
        // A panic leaves `policies` empty, so that the drop does not finish them a second time.
        let policies = me.policies.take().expect("shared while it waits");
        let mut guard = CancelOnPanic {
            policies: &policies,
            wait: me.wait.as_mut(),
        };
        let polled = policies.poll_wait(guard.wait.as_mut(), cx, &mut call);
        mem::forget(guard);
        let Poll::Ready(started) = polled else {
            *me.policies = Some(policies);
            return Poll::Pending;
        };
        let started = started.map(|call_state| InFlightCall::new(&policies, call_state));
        let parked = me.parked.take().expect("parked while it waits");
        Poll::Ready((started, parked))
    }
}

/// Finishes the policies that have started if the wait panics.
struct CancelOnPanic<'a, R: RunAsyncPolicy<Req>, Req> {
    policies: &'a SharedPolicies<R>,
    wait: Pin<&'a mut R::Wait>,
}

impl<R: RunAsyncPolicy<Req>, Req> Drop for CancelOnPanic<'_, R, Req> {
    #[cold]
    fn drop(&mut self) {
        self.policies
            .cancel_wait(self.wait.as_mut(), &CallEnd::in_panic());
    }
}

impl<S, R, P, Req> Future for AsyncPolicyFuture<S, R, P, Req>
where
    S: Service<Req>,
    R: RunAsyncPolicy<Req>,
    P: Protocol<Req>,
    P::Exchange: RejectWith<S::Response, S::Error, R::Rejection>,
{
    type Output =
        Result<<P::Exchange as TrackResponse<S::Response, S::Error>>::Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Waiting(wait) => {
                    let (started, parked) = ready!(wait.poll(cx));
                    match started {
                        Ok(in_flight_call) => {
                            state.set(State::Readying(Some((parked, in_flight_call))));
                        }
                        Err(rejection) => {
                            return Poll::Ready(parked.exchange.reject_with(rejection));
                        }
                    }
                }
                StateProj::Readying(ready) => {
                    let (parked, in_flight_call) = ready.as_mut().expect("there until called");
                    let polled = ready!(in_flight_call.poll_with(|| parked.inner.poll_ready(cx)));
                    let (parked, mut in_flight_call) = ready.take().expect("there until called");
                    let Parked {
                        mut inner,
                        request,
                        exchange,
                        ..
                    } = parked;
                    if let Err(error) = polled {
                        in_flight_call.poll_with(|| drop((inner, request)));
                        let result = Err(error);
                        let answer = in_flight_call.finish_on_panic(|in_flight_call| {
                            exchange.track_result(result, in_flight_call)
                        });
                        return Poll::Ready(answer);
                    }
                    // The ready instance is dropped with the closure, inside of the policies.
                    let run =
                        PolicyFuture::run(in_flight_call, exchange, move || inner.call(request));
                    state.set(State::Running(run));
                }
                StateProj::Running(run) => return run.poll(cx),
            }
        }
    }
}

impl<S, R, P, Req> fmt::Debug for AsyncPolicyFuture<S, R, P, Req>
where
    S: Service<Req>,
    R: RunAsyncPolicy<Req>,
    P: Protocol<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncPolicyFuture").finish_non_exhaustive()
    }
}
