use std::{convert::Infallible, fmt, marker::PhantomData};

use crate::{
    Backpressure, Call, CallEnd, False, Guard, Headers, JoinRejection, MaybeRejection, Observer,
    Policy, Rejection, True, TypeBool,
    async_service::AsyncAdmission,
    service::{AdmissionMode, SyncAdmission},
};

/// What a policy stack needs to know of a policy before it sees a request: what it can reject with, and whether it may wait.
pub trait PolicyShape: Policy + 'static {
    /// [`Infallible`] for observers, [`Rejection`] for guards.
    type MaybeRejection: MaybeRejection;
    /// [`SyncAdmission`], or [`AsyncAdmission`] where an [`AsyncGuard`](crate::AsyncGuard) takes part.
    type AdmissionMode: AdmissionMode;
    /// Whether responses have to be followed to their end: [`False`] only where no policy [follows](Policy::NEEDS_END) its calls.
    type NeedsEnd: TypeBool;
}

/// Fails to compile for a policy that follows its calls and says that it needs no end.
pub(crate) const fn needs_end_if_it_follows<R: PolicyShape>() {
    assert!(
        R::NeedsEnd::VALUE || !(R::NEEDS_END || R::WRAPS_POLL),
        "a policy that follows its calls needs their end"
    );
}

/// A policy as a policy stack runs it: a guard, an observer, or a policy stack of them.
///
/// Nobody implements it by hand: write a [`Guard`] or an [`Observer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot guard or observe requests of type `{Req}`",
    label = "not a policy for these requests"
)]
pub trait RunPolicy<Req>: PolicyShape {
    /// Starts one call, outermost policy first.
    ///
    /// # Errors
    ///
    /// The rejection of the first guard that rejects; the policies before it are finished then.
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::MaybeRejection>;

    /// Rejects ahead of any call.
    fn early_rejection(&self) -> Option<Self::MaybeRejection>;

    /// Returns a wait while a guard holds the policy stack back, the outermost first.
    fn backpressure(&self) -> Option<Backpressure>;
}

/// A policy in the part that it plays.
pub struct As<T, K> {
    pub(crate) policy: T,
    part: PhantomData<K>,
}

/// The part of a [`Guard`], which needs the end of its calls or not.
#[derive(Debug)]
pub struct GuardKind<N>(PhantomData<N>);
/// The part of an [`AsyncGuard`](crate::AsyncGuard), which needs the end of its calls or not.
#[derive(Debug)]
pub struct AsyncGuardKind<N>(PhantomData<N>);
/// The part of a [`Guard`] that may need the end of its calls.
pub type AnyGuardKind = GuardKind<True>;
/// The part of an [`AsyncGuard`](crate::AsyncGuard) that may need the end of its calls.
pub type AnyAsyncGuardKind = AsyncGuardKind<True>;
/// The part of an [`Observer`].
#[derive(Debug)]
pub enum ObserverKind {}

/// A [`Guard`] as a policy.
pub type AsGuard<G> = As<G, AnyGuardKind>;
/// An [`AsyncGuard`](crate::AsyncGuard) as a policy.
pub type AsAsyncGuard<G> = As<G, AnyAsyncGuardKind>;
/// A [`Guard`] as a policy, which needs the end of its calls or not.
///
/// With `N` [`False`] the policy has [`NEEDS_END`](Policy::NEEDS_END) false, and under `.axum()` responses stay as they are.
pub type AsGuardWith<G, N> = As<G, GuardKind<N>>;
/// An [`AsyncGuard`](crate::AsyncGuard) as a policy, which needs the end of its calls or not; see [`AsGuardWith`].
pub type AsAsyncGuardWith<G, N> = As<G, AsyncGuardKind<N>>;
/// An [`Observer`] as a policy.
pub type AsObserver<O> = As<O, ObserverKind>;

impl<T, K> As<T, K> {
    /// Gives `policy` its part.
    pub const fn new(policy: T) -> Self {
        Self {
            policy,
            part: PhantomData,
        }
    }

    /// Returns the policy.
    pub const fn policy(&self) -> &T {
        &self.policy
    }

    /// Returns the policy, to be changed before it is shared.
    pub fn policy_mut(&mut self) -> &mut T {
        &mut self.policy
    }
}

impl<T: Clone, K> Clone for As<T, K> {
    fn clone(&self) -> Self {
        Self::new(self.policy.clone())
    }
}

impl<T: fmt::Debug, K> fmt::Debug for As<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}

impl<T: Policy, K> Policy for As<T, K> {
    type CallState = T::CallState;
    const WRAPS_POLL: bool = T::WRAPS_POLL;
    const NEEDS_END: bool = T::NEEDS_END;

    #[inline(always)]
    fn enter<R>(&self, held: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        self.policy.enter(held, poll)
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::CallState, so_far: &CallEnd) {
        self.policy.head(held, so_far);
    }

    #[inline(always)]
    fn response_headers(&self, held: &Self::CallState, fields: &mut dyn Headers) {
        self.policy.response_headers(held, fields);
    }

    #[inline(always)]
    fn finish(&self, held: Self::CallState, end: &CallEnd) {
        self.policy.finish(held, end);
    }
}

impl<G: Policy + 'static, N: TypeBool> PolicyShape for AsGuardWith<G, N> {
    type MaybeRejection = Rejection;
    type AdmissionMode = SyncAdmission;
    type NeedsEnd = N;
}

impl<G: Policy + 'static, N: TypeBool> PolicyShape for AsAsyncGuardWith<G, N> {
    type MaybeRejection = Rejection;
    type AdmissionMode = AsyncAdmission;
    type NeedsEnd = N;
}

impl<O: Policy + 'static> PolicyShape for AsObserver<O> {
    type MaybeRejection = Infallible;
    type AdmissionMode = SyncAdmission;
    type NeedsEnd = True;
}

impl<Req, G: Guard<Req> + 'static, N: TypeBool> RunPolicy<Req> for AsGuardWith<G, N> {
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Rejection> {
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
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Infallible> {
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

/// Two policies as one, the first outside the second. Longer policy stacks are pairs of pairs.
#[derive(Debug, Clone)]
pub struct Pair<A, B>(pub(crate) A, pub(crate) B);

impl<A: Policy, B: Policy> Policy for Pair<A, B> {
    type CallState = (A::CallState, B::CallState);
    const WRAPS_POLL: bool = A::WRAPS_POLL || B::WRAPS_POLL;
    const NEEDS_END: bool = A::NEEDS_END || B::NEEDS_END;

    #[inline(always)]
    fn enter<R>(&self, held: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        let (first, second) = held;
        self.0.enter(first, || self.1.enter(second, poll))
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::CallState, so_far: &CallEnd) {
        let (first, second) = held;
        if A::WRAPS_POLL {
            self.0.enter(first, || self.1.head(second, so_far));
        } else {
            self.1.head(second, so_far);
        }
        self.0.head(first, so_far);
    }

    #[inline(always)]
    fn response_headers(&self, held: &Self::CallState, fields: &mut dyn Headers) {
        self.1.response_headers(&held.1, fields);
        self.0.response_headers(&held.0, fields);
    }

    #[inline(always)]
    fn finish(&self, held: Self::CallState, end: &CallEnd) {
        let (first, second) = held;
        let mut first = Begun::new(&self.0, first);
        if A::WRAPS_POLL {
            first.enter(|| self.1.finish(second, end));
        } else {
            self.1.finish(second, end);
        }
        self.0.finish(first.keep(), end);
    }
}

impl<A: PolicyShape, B: PolicyShape> PolicyShape for Pair<A, B>
where
    A::MaybeRejection: JoinRejection<B::MaybeRejection>,
{
    type MaybeRejection = <A::MaybeRejection as JoinRejection<B::MaybeRejection>>::Out;
    type AdmissionMode = <A::AdmissionMode as AdmissionMode>::With<B::AdmissionMode>;
    type NeedsEnd = <A::NeedsEnd as TypeBool>::Or<B::NeedsEnd>;
}

impl<Req, A: RunPolicy<Req>, B: RunPolicy<Req>> RunPolicy<Req> for Pair<A, B>
where
    A::MaybeRejection: JoinRejection<B::MaybeRejection>,
{
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::MaybeRejection> {
        let held = match self.0.begin(call) {
            Ok(held) => held,
            Err(rejection) => return Err(rejection.first()),
        };
        let mut first = Begun::new(&self.0, held);
        let second = if A::WRAPS_POLL {
            first.enter(|| self.1.begin(call))
        } else {
            self.1.begin(call)
        };
        match second {
            Ok(second) => Ok((first.keep(), second)),
            Err(rejection) => Err(A::MaybeRejection::second(first.turn_away(rejection, call))),
        }
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Self::MaybeRejection> {
        match self.0.early_rejection() {
            Some(rejection) => Some(rejection.first()),
            None => self.1.early_rejection().map(A::MaybeRejection::second),
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

/// What a policy holds while other code runs: finished if that panics.
pub(crate) struct Begun<'a, R: Policy> {
    role: &'a R,
    held: Option<R::CallState>,
}

impl<'a, R: Policy> Begun<'a, R> {
    #[inline(always)]
    pub(crate) fn new(role: &'a R, held: R::CallState) -> Self {
        Self {
            role,
            held: Some(held),
        }
    }

    #[inline(always)]
    pub(crate) fn enter<T>(&mut self, run: impl FnOnce() -> T) -> T {
        match &mut self.held {
            Some(held) => self.role.enter(held, run),
            None => run(),
        }
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut R::CallState)) {
        if let Some(held) = &mut self.held {
            change(held);
        }
    }

    /// Finishes the policy of a call that was rejected after it.
    #[cold]
    #[inline(never)]
    pub(crate) fn turn_away<Req, Q: MaybeRejection>(self, rejection: Q, call: &Call<'_, Req>) -> Q {
        let end = call.rejected(rejection.rejection().reason());
        let role = self.role;
        role.finish(self.keep(), &end);
        rejection
    }

    #[inline(always)]
    pub(crate) fn keep(mut self) -> R::CallState {
        self.held.take().expect("held until it is kept")
    }
}

impl<R: Policy> Drop for Begun<'_, R> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            finish_in_panic(self.role, held);
        }
    }
}

/// Takes what is held by value: a reference to it would keep it in memory on the way that does not panic.
#[cold]
#[inline(never)]
fn finish_in_panic<R: Policy>(role: &R, held: R::CallState) {
    role.finish(held, &CallEnd::in_panic());
}

impl<R: Policy> Policy for Option<R> {
    type CallState = Option<R::CallState>;
    const WRAPS_POLL: bool = R::WRAPS_POLL;
    const NEEDS_END: bool = R::NEEDS_END;

    #[inline(always)]
    fn enter<T>(&self, held: &mut Self::CallState, poll: impl FnOnce() -> T) -> T {
        match (self, held) {
            (Some(role), Some(held)) => role.enter(held, poll),
            _ => poll(),
        }
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::CallState, so_far: &CallEnd) {
        if let (Some(role), Some(held)) = (self, held) {
            role.head(held, so_far);
        }
    }

    #[inline(always)]
    fn response_headers(&self, held: &Self::CallState, fields: &mut dyn Headers) {
        if let (Some(role), Some(held)) = (self, held) {
            role.response_headers(held, fields);
        }
    }

    #[inline(always)]
    fn finish(&self, held: Self::CallState, end: &CallEnd) {
        if let (Some(role), Some(held)) = (self, held) {
            role.finish(held, end);
        }
    }
}

impl<R: PolicyShape> PolicyShape for Option<R> {
    type MaybeRejection = R::MaybeRejection;
    type AdmissionMode = R::AdmissionMode;
    type NeedsEnd = R::NeedsEnd;
}

impl<Req, R: RunPolicy<Req>> RunPolicy<Req> for Option<R> {
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Self::MaybeRejection> {
        self.as_ref().map(|role| role.begin(call)).transpose()
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Self::MaybeRejection> {
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
    type MaybeRejection = Infallible;
    type AdmissionMode = SyncAdmission;
    type NeedsEnd = False;
}
