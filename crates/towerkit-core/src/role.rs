use std::{convert::Infallible, fmt, marker::PhantomData};

use crate::{
    Backpressure, Call, End, False, Fields, Guard, Join, Observer, Policy, Refusal, Rejection,
    True, TypeBool,
    row::{Immediate, Pace},
    waiting::Waiting,
};

/// What a row needs to know of a role before it sees a request: what it can refuse with, and whether it may wait.
pub trait Shape: Policy + 'static {
    /// [`Infallible`] for observers, [`Rejection`] for guards.
    type Refusal: Refusal;
    /// [`Immediate`], or [`Waiting`] where an [`AsyncGuard`](crate::AsyncGuard) takes part.
    type Pace: Pace;
    /// Whether responses have to be followed to their end: [`False`] only where no role [follows](Policy::FOLLOWS) its calls.
    type NeedsEnd: TypeBool;
}

/// Fails to compile for a role that follows its calls and says that it needs no end.
pub(crate) const fn needs_end_if_it_follows<R: Shape>() {
    assert!(
        R::NeedsEnd::VALUE || !(R::FOLLOWS || R::ENTERS),
        "a policy that follows its calls needs their end"
    );
}

/// A role as a row runs it: a guard, an observer, or a row of them.
///
/// Nobody implements it by hand: write a [`Guard`] or an [`Observer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot guard or observe requests of type `{Req}`",
    label = "not a role for these requests"
)]
pub trait Role<Req>: Shape {
    /// Starts one call, outermost role first.
    ///
    /// # Errors
    ///
    /// The refusal of the first guard that refuses; the roles before it are finished then.
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Self::Refusal>;

    /// Refuses ahead of any call.
    fn shut(&self) -> Option<Self::Refusal>;

    /// Returns a wait while a guard holds the row back, the outermost first.
    fn backpressure(&self) -> Option<Backpressure>;
}

/// A policy in the part that it plays.
pub struct As<T, K> {
    pub(crate) policy: T,
    part: PhantomData<K>,
}

/// The part of a [`Guard`], which needs the end of its calls or not.
#[derive(Debug)]
pub struct GuardPart<N>(PhantomData<N>);
/// The part of an [`AsyncGuard`](crate::AsyncGuard), which needs the end of its calls or not.
#[derive(Debug)]
pub struct AsyncGuardPart<N>(PhantomData<N>);
/// The part of a [`Guard`] that may need the end of its calls.
pub type Guarding = GuardPart<True>;
/// The part of an [`AsyncGuard`](crate::AsyncGuard) that may need the end of its calls.
pub type GuardingLater = AsyncGuardPart<True>;
/// The part of an [`Observer`].
#[derive(Debug)]
pub enum Observing {}

/// A [`Guard`] as a role.
pub type Guards<G> = As<G, Guarding>;
/// An [`AsyncGuard`](crate::AsyncGuard) as a role.
pub type AsyncGuards<G> = As<G, GuardingLater>;
/// A [`Guard`] as a role, which needs the end of its calls or not.
///
/// With `N` [`False`] the policy has [`FOLLOWS`](Policy::FOLLOWS) false, and under `.axum()` responses stay as they are.
pub type GuardRole<G, N> = As<G, GuardPart<N>>;
/// An [`AsyncGuard`](crate::AsyncGuard) as a role, which needs the end of its calls or not; see [`GuardRole`].
pub type AsyncGuardRole<G, N> = As<G, AsyncGuardPart<N>>;
/// An [`Observer`] as a role.
pub type Observes<O> = As<O, Observing>;

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
    type Held = T::Held;
    const ENTERS: bool = T::ENTERS;
    const FOLLOWS: bool = T::FOLLOWS;

    #[inline(always)]
    fn enter<R>(&self, held: &mut Self::Held, poll: impl FnOnce() -> R) -> R {
        self.policy.enter(held, poll)
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::Held, so_far: &End) {
        self.policy.head(held, so_far);
    }

    #[inline(always)]
    fn annotate(&self, held: &Self::Held, fields: &mut dyn Fields) {
        self.policy.annotate(held, fields);
    }

    #[inline(always)]
    fn finish(&self, held: Self::Held, end: &End) {
        self.policy.finish(held, end);
    }
}

impl<G: Policy + 'static, N: TypeBool> Shape for GuardRole<G, N> {
    type Refusal = Rejection;
    type Pace = Immediate;
    type NeedsEnd = N;
}

impl<G: Policy + 'static, N: TypeBool> Shape for AsyncGuardRole<G, N> {
    type Refusal = Rejection;
    type Pace = Waiting;
    type NeedsEnd = N;
}

impl<O: Policy + 'static> Shape for Observes<O> {
    type Refusal = Infallible;
    type Pace = Immediate;
    type NeedsEnd = True;
}

impl<Req, G: Guard<Req> + 'static, N: TypeBool> Role<Req> for GuardRole<G, N> {
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Rejection> {
        self.policy.admit(call)
    }

    #[inline(always)]
    fn shut(&self) -> Option<Rejection> {
        self.policy.shut()
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.policy.backpressure()
    }
}

impl<Req, O: Observer<Req> + 'static> Role<Req> for Observes<O> {
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Infallible> {
        Ok(self.policy.start(call))
    }

    #[inline(always)]
    fn shut(&self) -> Option<Infallible> {
        None
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

/// Two roles as one, the first outside the second. Longer rows are pairs of pairs.
#[derive(Debug, Clone)]
pub struct Pair<A, B>(pub(crate) A, pub(crate) B);

impl<A: Policy, B: Policy> Policy for Pair<A, B> {
    type Held = (A::Held, B::Held);
    const ENTERS: bool = A::ENTERS || B::ENTERS;
    const FOLLOWS: bool = A::FOLLOWS || B::FOLLOWS;

    #[inline(always)]
    fn enter<R>(&self, held: &mut Self::Held, poll: impl FnOnce() -> R) -> R {
        let (first, second) = held;
        self.0.enter(first, || self.1.enter(second, poll))
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::Held, so_far: &End) {
        let (first, second) = held;
        if A::ENTERS {
            self.0.enter(first, || self.1.head(second, so_far));
        } else {
            self.1.head(second, so_far);
        }
        self.0.head(first, so_far);
    }

    #[inline(always)]
    fn annotate(&self, held: &Self::Held, fields: &mut dyn Fields) {
        self.1.annotate(&held.1, fields);
        self.0.annotate(&held.0, fields);
    }

    #[inline(always)]
    fn finish(&self, held: Self::Held, end: &End) {
        let (first, second) = held;
        let mut first = Begun::new(&self.0, first);
        if A::ENTERS {
            first.enter(|| self.1.finish(second, end));
        } else {
            self.1.finish(second, end);
        }
        self.0.finish(first.keep(), end);
    }
}

impl<A: Shape, B: Shape> Shape for Pair<A, B>
where
    A::Refusal: Join<B::Refusal>,
{
    type Refusal = <A::Refusal as Join<B::Refusal>>::Out;
    type Pace = <A::Pace as Pace>::With<B::Pace>;
    type NeedsEnd = <A::NeedsEnd as TypeBool>::Or<B::NeedsEnd>;
}

impl<Req, A: Role<Req>, B: Role<Req>> Role<Req> for Pair<A, B>
where
    A::Refusal: Join<B::Refusal>,
{
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Self::Refusal> {
        let held = match self.0.begin(call) {
            Ok(held) => held,
            Err(refusal) => return Err(refusal.first()),
        };
        let mut first = Begun::new(&self.0, held);
        let second = if A::ENTERS {
            first.enter(|| self.1.begin(call))
        } else {
            self.1.begin(call)
        };
        match second {
            Ok(second) => Ok((first.keep(), second)),
            Err(refusal) => Err(A::Refusal::second(first.turn_away(refusal, call))),
        }
    }

    #[inline(always)]
    fn shut(&self) -> Option<Self::Refusal> {
        match self.0.shut() {
            Some(refusal) => Some(refusal.first()),
            None => self.1.shut().map(A::Refusal::second),
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

/// What a role holds while other code runs: finished if that panics.
pub(crate) struct Begun<'a, R: Policy> {
    role: &'a R,
    held: Option<R::Held>,
}

impl<'a, R: Policy> Begun<'a, R> {
    #[inline(always)]
    pub(crate) fn new(role: &'a R, held: R::Held) -> Self {
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

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut R::Held)) {
        if let Some(held) = &mut self.held {
            change(held);
        }
    }

    /// Finishes the role of a call that was refused after it.
    #[cold]
    #[inline(never)]
    pub(crate) fn turn_away<Req, Q: Refusal>(self, refusal: Q, call: &Call<'_, Req>) -> Q {
        let end = call.refused(refusal.rejection().reason());
        let role = self.role;
        role.finish(self.keep(), &end);
        refusal
    }

    #[inline(always)]
    pub(crate) fn keep(mut self) -> R::Held {
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
fn finish_in_panic<R: Policy>(role: &R, held: R::Held) {
    role.finish(held, &End::in_panic());
}

impl<R: Policy> Policy for Option<R> {
    type Held = Option<R::Held>;
    const ENTERS: bool = R::ENTERS;
    const FOLLOWS: bool = R::FOLLOWS;

    #[inline(always)]
    fn enter<T>(&self, held: &mut Self::Held, poll: impl FnOnce() -> T) -> T {
        match (self, held) {
            (Some(role), Some(held)) => role.enter(held, poll),
            _ => poll(),
        }
    }

    #[inline(always)]
    fn head(&self, held: &mut Self::Held, so_far: &End) {
        if let (Some(role), Some(held)) = (self, held) {
            role.head(held, so_far);
        }
    }

    #[inline(always)]
    fn annotate(&self, held: &Self::Held, fields: &mut dyn Fields) {
        if let (Some(role), Some(held)) = (self, held) {
            role.annotate(held, fields);
        }
    }

    #[inline(always)]
    fn finish(&self, held: Self::Held, end: &End) {
        if let (Some(role), Some(held)) = (self, held) {
            role.finish(held, end);
        }
    }
}

impl<R: Shape> Shape for Option<R> {
    type Refusal = R::Refusal;
    type Pace = R::Pace;
    type NeedsEnd = R::NeedsEnd;
}

impl<Req, R: Role<Req>> Role<Req> for Option<R> {
    #[inline(always)]
    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Self::Held, Self::Refusal> {
        self.as_ref().map(|role| role.begin(call)).transpose()
    }

    #[inline(always)]
    fn shut(&self) -> Option<Self::Refusal> {
        self.as_ref().and_then(Role::shut)
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.as_ref().and_then(Role::backpressure)
    }
}

impl Policy for () {
    type Held = ();
    const FOLLOWS: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &End) {}
}

impl Shape for () {
    type Refusal = Infallible;
    type Pace = Immediate;
    type NeedsEnd = False;
}
