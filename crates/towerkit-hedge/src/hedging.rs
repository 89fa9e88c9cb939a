use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use tower_service::Service;
use towerkit_core::{Deadline, Outcome, Peek, Pushback, Reason, Repeat};

use crate::{attempt::Attempt, service::Shared, state::Watch};

/// The header of a hedge: its number among those of the call, from 1. A first attempt has none.
pub const HEDGE_ATTEMPT: &str = "x-hedge-attempt";

/// What a call has besides its first attempt, if it may be hedged.
pub(crate) struct Hedging<S, P, Req>
where
    S: Service<P::Attempt>,
    P: Repeat<Req>,
{
    shared: Arc<Shared<P>>,
    exchange: P::Exchange,
    kept: P::Kept,
    /// Cloned for each hedge.
    service: S,
    deadline: Option<Deadline>,
    /// How many hedges have been begun, and how many may still be.
    begun: u8,
    left: u8,
    delay: Duration,
    /// The time before the next hedge: the delay, unless the callee asks for another.
    wait: Duration,
    watch: Option<Watch>,
    hedges: Vec<Begun<S, P::Attempt>>,
}

/// In a box, so that a call that is not hedged, as nearly all are, carries no room for it.
type Begun<S, A> = Pin<Box<Attempt<S, <S as Service<A>>::Future, A>>>;

/// What a call is hedged with, and by when.
pub(crate) struct Means<S, X, K> {
    pub(crate) service: S,
    pub(crate) exchange: X,
    pub(crate) kept: K,
    pub(crate) deadline: Option<Deadline>,
}

impl<S, P, Req> Hedging<S, P, Req>
where
    P: Repeat<Req>,
    P::Exchange: Peek<S::Response, S::Error>,
    S: Service<P::Attempt> + Clone,
{
    #[inline(always)]
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        means: Means<S, P::Exchange, P::Kept>,
        (delay, watch): (Duration, Option<Watch>),
    ) -> Self {
        Self {
            left: shared.state.settings.hedges,
            shared,
            exchange: means.exchange,
            kept: means.kept,
            service: means.service,
            deadline: means.deadline,
            begun: 0,
            delay,
            wait: delay,
            watch,
            hedges: Vec::new(),
        }
    }

    /// Takes note of the result of the first attempt, and returns whether it is that of the call.
    pub(crate) fn first_ended(&mut self, result: &Result<S::Response, S::Error>) -> bool {
        let outcome = self.exchange.peek(result).outcome();
        if let Some(watch) = self.watch.take() {
            let is_answered = matches!(outcome, Outcome::Success | Outcome::ClientError);
            watch.stop(&self.shared.state, is_answered);
        }
        self.settles(outcome, result)
    }

    fn hedge_ended(&mut self, result: &Result<S::Response, S::Error>) -> bool {
        let outcome = self.exchange.peek(result).outcome();
        if outcome == Outcome::Success {
            self.shared.state.count_win();
        }
        self.settles(outcome, result)
    }

    /// Whether a result is that of the call, whatever the other attempts would come to. After one that is not, hedges the call at
    /// once, if nothing speaks against it.
    fn settles(&mut self, outcome: Outcome, result: &Result<S::Response, S::Error>) -> bool {
        if matches!(
            outcome,
            Outcome::Success | Outcome::ClientError | Outcome::Cancelled
        ) {
            return true;
        }
        // What was refused on the way never reached the callee: a hedge would meet the same guard. What timed out did.
        let refused = self.exchange.peek(result).refused();
        if refused.is_some_and(|reason| reason != Reason::DeadlineExceeded) {
            self.left = 0;
        }
        match self.exchange.pushback(result) {
            None => self.hedge(),
            Some(Pushback::After(wait)) if wait.is_zero() => self.hedge(),
            Some(Pushback::After(wait)) => self.wait = wait,
            Some(Pushback::Never) => self.left = 0,
        }
        false
    }

    /// Polls the hedges, and begins another one when it is time; ready with the result of the call.
    ///
    /// `failed` is that of an attempt that has just failed. It is the result of the call if no other attempt goes on, and dropped if
    /// one does, since that one will say how the call ends.
    pub(crate) fn race(
        &mut self,
        mut timer: Pin<&mut Option<Sleep>>,
        is_first_going_on: bool,
        mut failed: Option<Result<S::Response, S::Error>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut at = 0;
        loop {
            while let Some(hedge) = self.hedges.get_mut(at) {
                let Poll::Ready(ended) = hedge.as_mut().poll(cx) else {
                    at += 1;
                    continue;
                };
                drop(self.hedges.swap_remove(at));
                timer.set(None);
                match ended {
                    Some(result) if self.hedge_ended(&result) => return Poll::Ready(result),
                    Some(result) => failed = Some(result),
                    None => self.left = 0,
                }
            }
            let goes_on = is_first_going_on || self.hedges.iter().any(|hedge| hedge.is_sent());
            if let Some(result) = failed.take()
                && !goes_on
            {
                return Poll::Ready(result);
            }
            if self.poll_timer(timer.as_mut(), cx).is_pending() {
                return Poll::Pending;
            }
            self.hedge();
        }
    }

    /// Waits until the next hedge is due. The first call that waits makes the timer.
    fn poll_timer(&mut self, mut timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
        // One at a time waits for an instance.
        if self.left == 0 || !self.hedges.iter().all(|hedge| hedge.is_sent()) {
            return Poll::Pending;
        }
        loop {
            match timer.as_mut().as_pin_mut() {
                Some(sleep) => std::task::ready!(sleep.poll(cx)),
                None if self.is_past(self.wait) => {
                    self.left = 0;
                    return Poll::Pending;
                }
                None => {
                    timer.set(Some(sleep(self.wait)));
                    continue;
                }
            }
            timer.set(None);
            return Poll::Ready(());
        }
    }

    /// Whether nobody waits any more for an answer, that much later.
    fn is_past(&self, later: Duration) -> bool {
        let deadline = self.deadline.as_ref();
        deadline.is_some_and(|deadline| deadline.left() <= later)
    }

    /// Begins a hedge. What speaks against it now will still do so later, so that the call is not hedged again.
    fn hedge(&mut self) {
        self.wait = self.delay;
        match self.next_hedge() {
            Some(hedge) => {
                self.begun += 1;
                self.left -= 1;
                self.hedges.push(hedge);
            }
            None => self.left = 0,
        }
    }

    fn next_hedge(&mut self) -> Option<Begun<S, P::Attempt>> {
        if self.left == 0 || self.is_past(Duration::ZERO) {
            return None;
        }
        let withdrawal = self.shared.state.withdraw()?;
        let protocol = &self.shared.protocol;
        let mut request = protocol.again(&mut self.kept)?;
        let number = self.begun + 1;
        protocol.stamp(&mut request, HEDGE_ATTEMPT, &number.to_string());
        Some(Box::pin(Attempt::Waiting {
            service: self.service.clone(),
            request: Some(request),
            number,
            withdrawal,
        }))
    }
}

/// A first attempt that is dropped was beaten by a hedge, or given up by its caller.
impl<S, P, Req> Drop for Hedging<S, P, Req>
where
    S: Service<P::Attempt>,
    P: Repeat<Req>,
{
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.stop(&self.shared.state, false);
        }
    }
}
