use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use crate::{
    Admission, AsAsyncGuard, AsGuard, AsObserver, AsyncGuard, Backpressure, Call, CallEnd, Guard,
    Observer, Pair, Policy, PolicyShape, Rejection, RejectionType, RunPolicy, TypeBool,
    run_policy::Started,
};

/// A policy in the form in which a stack runs it that may have to wait.
///
/// Implement [`AsyncGuard`] instead; [`AsAsyncGuard`] and [`Pair`] implement this trait.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot guard or observe requests of type `{Req}`",
    label = "not a policy for these requests"
)]
pub trait RunAsyncPolicy<Req>: PolicyShape {
    /// The future of the policy that waits, with the states of the policies before it.
    type Wait;

    /// Starts one call, the outermost policy first, up to the first policy that has to wait.
    ///
    /// # Errors
    ///
    /// The rejection of the first guard that rejects. The policies before it are finished.
    fn start(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, Self::Wait>, Self::Rejection>;

    /// Polls the wait of a call.
    fn poll_wait(
        &self,
        wait: Pin<&mut Self::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::CallState, Self::Rejection>>;

    /// Cancels the wait of a call, and finishes the policies that have started.
    fn cancel_wait(&self, wait: Pin<&mut Self::Wait>, end: &CallEnd);

    /// Returns a rejection if the next call would certainly be rejected; see [`Guard::early_rejection`].
    fn early_rejection(&self) -> Option<Self::Rejection>;

    /// Returns the wait of the outermost guard that holds back readiness; see [`Guard::backpressure`].
    fn backpressure(&self) -> Option<Backpressure>;
}

macro_rules! never_waits {
    ([$($params:tt)*] $policy:ty) => {
        impl<Req, $($params)*> RunAsyncPolicy<Req> for $policy {
            type Wait = Infallible;

            fn start(
                &self,
                call: &mut Call<'_, Req>,
            ) -> Result<Admission<Self::CallState, Infallible>, Self::Rejection> {
                RunPolicy::start(self, call).map(Admission::Now)
            }

            fn poll_wait(
                &self,
                wait: Pin<&mut Infallible>,
                _cx: &mut Context<'_>,
                _call: &mut Call<'_, Req>,
            ) -> Poll<Result<Self::CallState, Self::Rejection>> {
                match *wait {}
            }

            fn cancel_wait(&self, wait: Pin<&mut Infallible>, _end: &CallEnd) {
                match *wait {}
            }

            fn early_rejection(&self) -> Option<Self::Rejection> {
                RunPolicy::early_rejection(self)
            }

            fn backpressure(&self) -> Option<Backpressure> {
                RunPolicy::backpressure(self)
            }
        }
    };
}

never_waits!([G: Guard<Req> + 'static, N: TypeBool] AsGuard<G, N>);
never_waits!([O: Observer<Req> + 'static] AsObserver<O>);

impl<Req, G: AsyncGuard<Req> + 'static, N: TypeBool> RunAsyncPolicy<Req> for AsAsyncGuard<G, N> {
    type Wait = G::Wait;

    fn start(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, G::Wait>, Rejection> {
        self.policy.admit(call)
    }

    fn poll_wait(
        &self,
        wait: Pin<&mut G::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::CallState, Rejection>> {
        let mut started = Started::new(&self.policy, ready!(wait.poll(cx))?);
        started.update(|state| self.policy.on_admitted(state, call));
        Poll::Ready(Ok(started.into_state()))
    }

    fn cancel_wait(&self, _wait: Pin<&mut G::Wait>, _end: &CallEnd) {
        // The drop of the wait releases everything that it holds.
    }

    fn early_rejection(&self) -> Option<Rejection> {
        None
    }

    fn backpressure(&self) -> Option<Backpressure> {
        self.policy.backpressure()
    }
}

impl<Req, R: RunAsyncPolicy<Req>> RunAsyncPolicy<Req> for Option<R> {
    type Wait = R::Wait;

    fn start(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, R::Wait>, Self::Rejection> {
        let Some(policy) = self else {
            return Ok(Admission::Now(None));
        };
        Ok(policy.start(call)?.map(Some))
    }

    fn poll_wait(
        &self,
        wait: Pin<&mut R::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::CallState, Self::Rejection>> {
        let policy = self.as_ref().expect("only a policy that is there waits");
        policy.poll_wait(wait, cx, call).map_ok(Some)
    }

    fn cancel_wait(&self, wait: Pin<&mut R::Wait>, end: &CallEnd) {
        if let Some(policy) = self {
            policy.cancel_wait(wait, end);
        }
    }

    fn early_rejection(&self) -> Option<Self::Rejection> {
        self.as_ref().and_then(RunAsyncPolicy::early_rejection)
    }

    fn backpressure(&self) -> Option<Backpressure> {
        self.as_ref().and_then(RunAsyncPolicy::backpressure)
    }
}

/// The wait of a [`Pair`]: of its first policy, or of its second policy with the state of the first.
#[doc(hidden)]
#[pin_project(project = PairWaitProj)]
pub enum PairWait<H, A, B> {
    /// The first policy waits.
    First(#[pin] A),
    /// The second policy waits.
    Second(Option<H>, #[pin] B),
    /// The wait was cancelled.
    Over,
}

impl<H, A, B> fmt::Debug for PairWait<H, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First(_) => "First",
            Self::Second(..) => "Second",
            Self::Over => "Over",
        })
    }
}

type PairWaitOf<Req, A, B> = PairWait<
    <A as Policy>::CallState,
    <A as RunAsyncPolicy<Req>>::Wait,
    <B as RunAsyncPolicy<Req>>::Wait,
>;

impl<Req, A: RunAsyncPolicy<Req>, B: RunAsyncPolicy<Req>> RunAsyncPolicy<Req> for Pair<A, B> {
    type Wait = PairWaitOf<Req, A, B>;

    fn start(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, Self::Wait>, Self::Rejection> {
        match self.0.start(call).map_err(RejectionType::into_first)? {
            Admission::Now(state) => start_second(self, state, call),
            Admission::Later(wait) => Ok(Admission::Later(PairWait::First(wait))),
        }
    }

    fn poll_wait(
        &self,
        mut wait: Pin<&mut Self::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::CallState, Self::Rejection>> {
        if let PairWaitProj::First(first) = wait.as_mut().project() {
            let state =
                ready!(self.0.poll_wait(first, cx, call)).map_err(RejectionType::into_first)?;
            match start_second(self, state, call)? {
                Admission::Now(state) => return Poll::Ready(Ok(state)),
                Admission::Later(second) => wait.set(second),
            }
        }
        let PairWaitProj::Second(state, second) = wait.project() else {
            unreachable!("the second policy waits from here on");
        };
        let mut started = Started::new(&self.0, state.take().expect("there while it waits"));
        match started.wrap_poll(|| self.1.poll_wait(second, cx, call)) {
            Poll::Pending => {
                *state = Some(started.into_state());
                Poll::Pending
            }
            Poll::Ready(Ok(second)) => Poll::Ready(Ok((started.into_state(), second))),
            Poll::Ready(Err(rejection)) => Poll::Ready(Err(A::Rejection::from_second(
                started.finish_rejected(rejection, call),
            ))),
        }
    }

    fn cancel_wait(&self, mut wait: Pin<&mut Self::Wait>, end: &CallEnd) {
        let first = match wait.as_mut().project() {
            PairWaitProj::First(first) => return self.0.cancel_wait(first, end),
            PairWaitProj::Second(state, second) => {
                let first = state.take().map(|state| Started::new(&self.0, state));
                self.1.cancel_wait(second, end);
                first
            }
            PairWaitProj::Over => return,
        };
        // The wait is dropped before the policies around it are finished.
        wait.set(PairWait::Over);
        if let Some(first) = first {
            self.0.finish(first.into_state(), end);
        }
    }

    fn early_rejection(&self) -> Option<Self::Rejection> {
        match self.0.early_rejection() {
            Some(rejection) => Some(rejection.into_first()),
            None => self.1.early_rejection().map(A::Rejection::from_second),
        }
    }

    fn backpressure(&self) -> Option<Backpressure> {
        match self.0.backpressure() {
            None => self.1.backpressure(),
            wait => wait,
        }
    }
}

type StartedPair<Req, A, B> = Result<
    Admission<<Pair<A, B> as Policy>::CallState, PairWaitOf<Req, A, B>>,
    <Pair<A, B> as PolicyShape>::Rejection,
>;

/// Starts the second policy of a pair, after its first.
fn start_second<Req, A, B>(
    pair: &Pair<A, B>,
    state: A::CallState,
    call: &mut Call<'_, Req>,
) -> StartedPair<Req, A, B>
where
    A: RunAsyncPolicy<Req>,
    B: RunAsyncPolicy<Req>,
{
    let mut first = Started::new(&pair.0, state);
    match first.wrap_poll(|| pair.1.start(call)) {
        Ok(Admission::Now(second)) => Ok(Admission::Now((first.into_state(), second))),
        Ok(Admission::Later(wait)) => {
            let first = Some(first.into_state());
            Ok(Admission::Later(PairWait::Second(first, wait)))
        }
        Err(rejection) => Err(A::Rejection::from_second(
            first.finish_rejected(rejection, call),
        )),
    }
}
