use std::{convert::Infallible, fmt, marker::PhantomData};

use crate::{
    Backpressure, Call, CallEnd, False, Guard, Headers, Observer, Policy, Rejection, RejectionType,
    True, TypeBool,
};

/// The properties of a policy that do not depend on the request: the type of its rejections, and if it may wait.
#[doc(hidden)]
pub trait PolicyShape: Policy + 'static {
    /// The type of its rejections: [`Infallible`] for observers, [`Rejection`] for guards.
    type Rejection: RejectionType;
    /// [`True`] if an [`AsyncGuard`](crate::AsyncGuard) takes part, so that calls may wait.
    type MayWait: TypeBool;
    /// [`True`] if responses have to be tracked to their end; [`False`] only if no policy has [`NEEDS_END`](Policy::NEEDS_END).
    type NeedsEnd: TypeBool;
}

/// Fails to compile for a policy that needs the end of its calls and whose type says that it does not.
pub(crate) const fn assert_needs_end<R: PolicyShape>() {
    assert!(
        R::NeedsEnd::VALUE || !(R::NEEDS_END || R::WRAPS_POLL),
        "a policy that follows its calls needs their end"
    );
}

/// A policy in the form in which a stack runs it: a guard, an observer, or a stack of them.
///
/// Implement [`Guard`] or [`Observer`] instead; [`PolicyAs`] and [`Pair`] implement this trait, and so does a driver that adds to the
/// policies that it starts.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot guard or observe requests of type `{Req}`",
    label = "not a policy for these requests"
)]
pub trait RunPolicy<Req>: PolicyShape {
    /// Starts one call, the outermost policy first.
    ///
    /// # Errors
    ///
    /// The rejection of the first guard that rejects. The policies before it are finished.
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::Rejection>;

    /// Returns a rejection if the next call would certainly be rejected; see [`Guard::early_rejection`].
    fn early_rejection(&self) -> Option<Self::Rejection>;

    /// Returns the wait of the outermost guard that holds back readiness; see [`Guard::backpressure`].
    fn backpressure(&self) -> Option<Backpressure>;
}

/// A guard, an asynchronous guard or an observer as a policy of a stack; `K` says which of them.
#[doc(hidden)]
pub struct PolicyAs<T, K> {
    pub(crate) policy: T,
    kind: PhantomData<K>,
}

/// Marks a [`Guard`]; `N` is [`True`] if it needs the end of its calls.
#[doc(hidden)]
#[derive(Debug)]
pub struct GuardKind<N>(PhantomData<N>);
/// Marks an [`AsyncGuard`](crate::AsyncGuard); `N` is [`True`] if it needs the end of its calls.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsyncGuardKind<N>(PhantomData<N>);
/// Marks an [`Observer`].
#[doc(hidden)]
#[derive(Debug)]
pub enum ObserverKind {}

/// A [`Guard`] as a policy of a stack, by default one that needs the end of its calls.
///
/// With `N` = [`False`] the policy has [`NEEDS_END`](Policy::NEEDS_END) false, and under `.axum()` responses keep axum's own body.
pub type AsGuard<G, N = True> = PolicyAs<G, GuardKind<N>>;
/// An [`AsyncGuard`](crate::AsyncGuard) as a policy of a stack; see [`AsGuard`].
pub type AsAsyncGuard<G, N = True> = PolicyAs<G, AsyncGuardKind<N>>;
/// An [`Observer`] as a policy of a stack.
pub type AsObserver<O> = PolicyAs<O, ObserverKind>;

impl<T, K> PolicyAs<T, K> {
    /// Wraps a guard or an observer.
    pub const fn new(policy: T) -> Self {
        Self {
            policy,
            kind: PhantomData,
        }
    }

    /// Returns the guard or the observer.
    pub const fn get(&self) -> &T {
        &self.policy
    }

    /// Returns the guard or the observer for a change.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.policy
    }
}

impl<T: Clone, K> Clone for PolicyAs<T, K> {
    fn clone(&self) -> Self {
        Self::new(self.policy.clone())
    }
}

impl<T: fmt::Debug, K> fmt::Debug for PolicyAs<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}

impl<T: Policy, K> Policy for PolicyAs<T, K> {
    type CallState = T::CallState;
    const WRAPS_POLL: bool = T::WRAPS_POLL;
    const NEEDS_END: bool = T::NEEDS_END;

    #[inline(always)]
    fn wrap_poll<R>(&self, state: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        self.policy.wrap_poll(state, poll)
    }

    #[inline(always)]
    fn on_response_head(&self, state: &mut Self::CallState, so_far: &CallEnd) {
        self.policy.on_response_head(state, so_far);
    }

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        self.policy.add_response_headers(state, headers);
    }

    #[inline(always)]
    fn finish(&self, state: Self::CallState, end: &CallEnd) {
        self.policy.finish(state, end);
    }
}

impl<G: Policy + 'static, N: TypeBool> PolicyShape for AsGuard<G, N> {
    type Rejection = Rejection;
    type MayWait = False;
    type NeedsEnd = N;
}

impl<G: Policy + 'static, N: TypeBool> PolicyShape for AsAsyncGuard<G, N> {
    type Rejection = Rejection;
    type MayWait = True;
    type NeedsEnd = N;
}

impl<O: Policy + 'static> PolicyShape for AsObserver<O> {
    type Rejection = Infallible;
    type MayWait = False;
    type NeedsEnd = True;
}

impl<Req, G: Guard<Req> + 'static, N: TypeBool> RunPolicy<Req> for AsGuard<G, N> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Rejection> {
        self.policy.admit(call)
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        self.policy.early_rejection()
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.policy.backpressure()
    }
}

impl<Req, O: Observer<Req> + 'static> RunPolicy<Req> for AsObserver<O> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Infallible> {
        Ok(self.policy.start(call))
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Infallible> {
        None
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

/// Two policies as one, the first outside of the second. Longer stacks are pairs of pairs.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Pair<A, B>(pub(crate) A, pub(crate) B);

impl<A: Policy, B: Policy> Policy for Pair<A, B> {
    type CallState = (A::CallState, B::CallState);
    const WRAPS_POLL: bool = A::WRAPS_POLL || B::WRAPS_POLL;
    const NEEDS_END: bool = A::NEEDS_END || B::NEEDS_END;

    #[inline(always)]
    fn wrap_poll<R>(&self, state: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        let (first, second) = state;
        self.0.wrap_poll(first, || self.1.wrap_poll(second, poll))
    }

    #[inline(always)]
    fn on_response_head(&self, state: &mut Self::CallState, so_far: &CallEnd) {
        let (first, second) = state;
        if A::WRAPS_POLL {
            self.0
                .wrap_poll(first, || self.1.on_response_head(second, so_far));
        } else {
            self.1.on_response_head(second, so_far);
        }
        self.0.on_response_head(first, so_far);
    }

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        self.1.add_response_headers(&state.1, headers);
        self.0.add_response_headers(&state.0, headers);
    }

    #[inline(always)]
    fn finish(&self, state: Self::CallState, end: &CallEnd) {
        let (first, second) = state;
        let mut first = Started::new(&self.0, first);
        if A::WRAPS_POLL {
            first.wrap_poll(|| self.1.finish(second, end));
        } else {
            self.1.finish(second, end);
        }
        self.0.finish(first.into_state(), end);
    }
}

impl<A: PolicyShape, B: PolicyShape> PolicyShape for Pair<A, B> {
    type Rejection = <A::Rejection as RejectionType>::Or<B::Rejection>;
    type MayWait = <A::MayWait as TypeBool>::Or<B::MayWait>;
    type NeedsEnd = <A::NeedsEnd as TypeBool>::Or<B::NeedsEnd>;
}

impl<Req, A: RunPolicy<Req>, B: RunPolicy<Req>> RunPolicy<Req> for Pair<A, B> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::Rejection> {
        let state = match self.0.start(call) {
            Ok(state) => state,
            Err(rejection) => return Err(rejection.into_first()),
        };
        let mut first = Started::new(&self.0, state);
        let second = if A::WRAPS_POLL {
            first.wrap_poll(|| self.1.start(call))
        } else {
            self.1.start(call)
        };
        match second {
            Ok(second) => Ok((first.into_state(), second)),
            Err(rejection) => Err(A::Rejection::from_second(
                first.finish_rejected(rejection, call),
            )),
        }
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Self::Rejection> {
        match self.0.early_rejection() {
            Some(rejection) => Some(rejection.into_first()),
            None => self.1.early_rejection().map(A::Rejection::from_second),
        }
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        match self.0.backpressure() {
            None => self.1.backpressure(),
            wait => wait,
        }
    }
}

/// The state of a policy that has started, while other code runs. Its drop finishes the policy, since that code has panicked.
pub(crate) struct Started<'a, R: Policy> {
    policy: &'a R,
    state: Option<R::CallState>,
}

impl<'a, R: Policy> Started<'a, R> {
    #[inline(always)]
    pub(crate) fn new(policy: &'a R, state: R::CallState) -> Self {
        Self {
            policy,
            state: Some(state),
        }
    }

    #[inline(always)]
    pub(crate) fn wrap_poll<T>(&mut self, run: impl FnOnce() -> T) -> T {
        match &mut self.state {
            Some(state) => self.policy.wrap_poll(state, run),
            None => run(),
        }
    }

    pub(crate) fn update(&mut self, update: impl FnOnce(&mut R::CallState)) {
        if let Some(state) = &mut self.state {
            update(state);
        }
    }

    /// Finishes the policy of a call that a later policy rejected.
    #[cold]
    #[inline(never)]
    pub(crate) fn finish_rejected<Req, Q: RejectionType>(
        self,
        rejection: Q,
        call: &mut Call<'_, Req>,
    ) -> Q {
        let end = call.rejected(rejection.as_rejection().reason());
        let policy = self.policy;
        policy.finish(self.into_state(), end);
        rejection
    }

    #[inline(always)]
    pub(crate) fn into_state(mut self) -> R::CallState {
        self.state.take().expect("taken once")
    }
}

impl<R: Policy> Drop for Started<'_, R> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            finish_in_panic(self.policy, state);
        }
    }
}

/// Finishes a policy whose inner code has panicked. A reference to the state would force it into memory in the case without a
/// panic.
#[cold]
#[inline(never)]
fn finish_in_panic<R: Policy>(policy: &R, state: R::CallState) {
    policy.finish(state, &CallEnd::in_panic());
}

impl<R: Policy> Policy for Option<R> {
    type CallState = Option<R::CallState>;
    const WRAPS_POLL: bool = R::WRAPS_POLL;
    const NEEDS_END: bool = R::NEEDS_END;

    #[inline(always)]
    fn wrap_poll<T>(&self, state: &mut Self::CallState, poll: impl FnOnce() -> T) -> T {
        match (self, state) {
            (Some(policy), Some(state)) => policy.wrap_poll(state, poll),
            _ => poll(),
        }
    }

    #[inline(always)]
    fn on_response_head(&self, state: &mut Self::CallState, so_far: &CallEnd) {
        if let (Some(policy), Some(state)) = (self, state) {
            policy.on_response_head(state, so_far);
        }
    }

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        if let (Some(policy), Some(state)) = (self, state) {
            policy.add_response_headers(state, headers);
        }
    }

    #[inline(always)]
    fn finish(&self, state: Self::CallState, end: &CallEnd) {
        if let (Some(policy), Some(state)) = (self, state) {
            policy.finish(state, end);
        }
    }
}

impl<R: PolicyShape> PolicyShape for Option<R> {
    type Rejection = R::Rejection;
    type MayWait = R::MayWait;
    type NeedsEnd = R::NeedsEnd;
}

impl<Req, R: RunPolicy<Req>> RunPolicy<Req> for Option<R> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::Rejection> {
        self.as_ref().map(|policy| policy.start(call)).transpose()
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Self::Rejection> {
        self.as_ref().and_then(RunPolicy::early_rejection)
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.as_ref().and_then(RunPolicy::backpressure)
    }
}

impl Policy for () {
    type CallState = ();
    const NEEDS_END: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl PolicyShape for () {
    type Rejection = Infallible;
    type MayWait = False;
    type NeedsEnd = False;
}

impl<Req> RunPolicy<Req> for () {
    #[inline(always)]
    fn start(&self, _call: &mut Call<'_, Req>) -> Result<(), Infallible> {
        Ok(())
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Infallible> {
        None
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}
