use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use crate::{
    Admission, AsyncGuard, AsyncGuardRole, Backpressure, Call, End, Guard, GuardRole, Join,
    Observer, Observes, Pair, Policy, Rejection, Role, Shape, TypeBool, role::Begun,
};

/// A role as a row runs it that may have to wait.
///
/// Nobody implements it by hand: write an [`AsyncGuard`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot guard or observe requests of type `{Req}`",
    label = "not a role for these requests"
)]
pub trait WaitingRole<Req>: Shape {
    /// What is waited for, and what the roles before it hold meanwhile.
    type Wait;

    /// Starts one call, outermost role first, up to the first role that has to wait.
    ///
    /// # Errors
    ///
    /// The refusal of the first guard that refuses; the roles before it are finished then.
    fn begin(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::Held, Self::Wait>, Self::Refusal>;

    /// Goes on with a call that waits.
    fn poll_wait(
        &self,
        wait: Pin<&mut Self::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::Held, Self::Refusal>>;

    /// Gives a call up that waits: finishes the roles that had begun.
    fn abandon(&self, wait: Pin<&mut Self::Wait>, end: &End);

    /// Refuses ahead of any call.
    fn shut(&self) -> Option<Self::Refusal>;

    /// Returns a wait while a guard holds the row back, the outermost first.
    fn backpressure(&self) -> Option<Backpressure>;
}

macro_rules! never_waits {
    ([$($params:tt)*] $role:ty) => {
        impl<Req, $($params)*> WaitingRole<Req> for $role {
            type Wait = Infallible;

            fn begin(
                &self,
                call: &mut Call<'_, Req>,
            ) -> Result<Admission<Self::Held, Infallible>, Self::Refusal> {
                Role::begin(self, call).map(Admission::Now)
            }

            fn poll_wait(
                &self,
                wait: Pin<&mut Infallible>,
                _cx: &mut Context<'_>,
                _call: &mut Call<'_, Req>,
            ) -> Poll<Result<Self::Held, Self::Refusal>> {
                match *wait {}
            }

            fn abandon(&self, wait: Pin<&mut Infallible>, _end: &End) {
                match *wait {}
            }

            fn shut(&self) -> Option<Self::Refusal> {
                Role::shut(self)
            }

            fn backpressure(&self) -> Option<Backpressure> {
                Role::backpressure(self)
            }
        }
    };
}

never_waits!([G: Guard<Req> + 'static, N: TypeBool] GuardRole<G, N>);
never_waits!([O: Observer<Req> + 'static] Observes<O>);

impl<Req, G: AsyncGuard<Req> + 'static, N: TypeBool> WaitingRole<Req> for AsyncGuardRole<G, N> {
    type Wait = G::Wait;

    fn begin(&self, call: &mut Call<'_, Req>) -> Result<Admission<Self::Held, G::Wait>, Rejection> {
        self.policy.admit(call)
    }

    fn poll_wait(
        &self,
        wait: Pin<&mut G::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::Held, Rejection>> {
        let mut begun = Begun::new(&self.policy, ready!(wait.poll(cx))?);
        begun.change(|held| self.policy.stamp(held, call));
        Poll::Ready(Ok(begun.keep()))
    }

    fn abandon(&self, _wait: Pin<&mut G::Wait>, _end: &End) {
        // What waits gives back what it holds when it is dropped.
    }

    fn shut(&self) -> Option<Rejection> {
        None
    }

    fn backpressure(&self) -> Option<Backpressure> {
        self.policy.backpressure()
    }
}

impl<Req, R: WaitingRole<Req>> WaitingRole<Req> for Option<R> {
    type Wait = R::Wait;

    fn begin(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::Held, R::Wait>, Self::Refusal> {
        let Some(role) = self else {
            return Ok(Admission::Now(None));
        };
        Ok(match role.begin(call)? {
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
        let role = self.as_ref().expect("only a role that is there waits");
        role.poll_wait(wait, cx, call).map_ok(Some)
    }

    fn abandon(&self, wait: Pin<&mut R::Wait>, end: &End) {
        if let Some(role) = self {
            role.abandon(wait, end);
        }
    }

    fn shut(&self) -> Option<Self::Refusal> {
        self.as_ref().and_then(WaitingRole::shut)
    }

    fn backpressure(&self) -> Option<Backpressure> {
        self.as_ref().and_then(WaitingRole::backpressure)
    }
}

/// What a [`Pair`] waits for: its first role, or its second while the first holds on.
#[pin_project(project = PairWaitProj)]
pub enum PairWait<H, A, B> {
    /// The first role waits.
    First(#[pin] A),
    /// The second role waits.
    Second(Option<H>, #[pin] B),
    /// The call was given up.
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

type PairWaitOf<Req, A, B> =
    PairWait<<A as Policy>::Held, <A as WaitingRole<Req>>::Wait, <B as WaitingRole<Req>>::Wait>;

impl<Req, A: WaitingRole<Req>, B: WaitingRole<Req>> WaitingRole<Req> for Pair<A, B>
where
    A::Refusal: Join<B::Refusal>,
{
    type Wait = PairWaitOf<Req, A, B>;

    fn begin(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::Held, Self::Wait>, Self::Refusal> {
        match self.0.begin(call).map_err(Join::first)? {
            Admission::Now(held) => begin_second(self, held, call),
            Admission::Later(wait) => Ok(Admission::Later(PairWait::First(wait))),
        }
    }

    fn poll_wait(
        &self,
        mut wait: Pin<&mut Self::Wait>,
        cx: &mut Context<'_>,
        call: &mut Call<'_, Req>,
    ) -> Poll<Result<Self::Held, Self::Refusal>> {
        if let PairWaitProj::First(first) = wait.as_mut().project() {
            let held = ready!(self.0.poll_wait(first, cx, call)).map_err(Join::first)?;
            match begin_second(self, held, call)? {
                Admission::Now(held) => return Poll::Ready(Ok(held)),
                Admission::Later(second) => wait.set(second),
            }
        }
        let PairWaitProj::Second(held, second) = wait.project() else {
            unreachable!("the second role waits from here on");
        };
        let mut begun = Begun::new(&self.0, held.take().expect("held while it waits"));
        match begun.enter(|| self.1.poll_wait(second, cx, call)) {
            Poll::Pending => {
                *held = Some(begun.keep());
                Poll::Pending
            }
            Poll::Ready(Ok(second)) => Poll::Ready(Ok((begun.keep(), second))),
            Poll::Ready(Err(refusal)) => {
                Poll::Ready(Err(A::Refusal::second(begun.turn_away(refusal, call))))
            }
        }
    }

    fn abandon(&self, mut wait: Pin<&mut Self::Wait>, end: &End) {
        let held = match wait.as_mut().project() {
            PairWaitProj::First(first) => return self.0.abandon(first, end),
            PairWaitProj::Second(held, second) => {
                let held = held.take().map(|held| Begun::new(&self.0, held));
                self.1.abandon(second, end);
                held
            }
            PairWaitProj::Over => return,
        };
        // The wait is dropped before the roles around it are finished.
        wait.set(PairWait::Over);
        if let Some(held) = held {
            self.0.finish(held.keep(), end);
        }
    }

    fn shut(&self) -> Option<Self::Refusal> {
        match self.0.shut() {
            Some(refusal) => Some(refusal.first()),
            None => self.1.shut().map(A::Refusal::second),
        }
    }

    fn backpressure(&self) -> Option<Backpressure> {
        match self.0.backpressure() {
            None => self.1.backpressure(),
            wait => wait,
        }
    }
}

type BegunPair<Req, A, B> = Result<
    Admission<<Pair<A, B> as Policy>::Held, PairWaitOf<Req, A, B>>,
    <Pair<A, B> as Shape>::Refusal,
>;

/// Starts the second role of a pair whose first has begun.
fn begin_second<Req, A, B>(
    pair: &Pair<A, B>,
    held: A::Held,
    call: &mut Call<'_, Req>,
) -> BegunPair<Req, A, B>
where
    A: WaitingRole<Req>,
    B: WaitingRole<Req>,
    A::Refusal: Join<B::Refusal>,
{
    let mut first = Begun::new(&pair.0, held);
    match first.enter(|| pair.1.begin(call)) {
        Ok(Admission::Now(second)) => Ok(Admission::Now((first.keep(), second))),
        Ok(Admission::Later(wait)) => {
            let first = Some(first.keep());
            Ok(Admission::Later(PairWait::Second(first, wait)))
        }
        Err(refusal) => Err(A::Refusal::second(first.turn_away(refusal, call))),
    }
}
