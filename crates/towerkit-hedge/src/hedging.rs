use std::{
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    task::coop::unconstrained,
    time::{Sleep, sleep},
};
use tower_service::Service;
use towerkit_core::{
    CallEnd, Deadline, DrainResponse, InspectResult, Outcome, Pushback, RejectionReason,
    ReplayRequest,
};

use crate::{attempt::Attempt, service::Shared, state::Watch};

/// The header of a hedge: its number among those of the call, from 1. A first attempt has none.
pub const HEDGE_ATTEMPT: &str = "x-hedge-attempt";

/// What a call has besides its first attempt, if it may be hedged.
pub(crate) struct Hedging<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    shared: Arc<Shared<P>>,
    exchange: P::Exchange,
    kept: P::Recorded,
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
    /// At most one of them, the last, is not sent yet.
    hedges: Vec<Begun<S, Req>>,
    /// Whether one that is not sent must not be any more.
    is_pushed_back: bool,
    /// Whether the first attempt was polled after the hedges.
    was_first_last: bool,
    /// The last response that failed while others go on.
    unwanted: Option<Unwanted<P::Exchange, S::Response>>,
}

type Unwanted<X, T> = Pin<Box<<X as DrainResponse<T>>::Drain>>;

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
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
{
    #[inline(always)]
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        means: Means<S, P::Exchange, P::Recorded>,
        (delay, watch): (Duration, Option<Watch>),
    ) -> Self {
        Self {
            left: shared.state.config.hedges,
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
            is_pushed_back: false,
            was_first_last: false,
            unwanted: None,
        }
    }

    /// Whether the first attempt is to be polled after the hedges: every other time, as whichever is polled first may use up the
    /// cooperative budget of the task.
    #[inline(always)]
    pub(crate) fn is_first_last(&mut self) -> bool {
        self.was_first_last = !self.was_first_last && !self.hedges.is_empty();
        self.was_first_last
    }

    /// Takes note of the result of the first attempt, and returns whether it is that of the call.
    #[inline(always)]
    pub(crate) fn first_ended(&mut self, result: &Result<S::Response, S::Error>) -> bool {
        let end = self.exchange.inspect(result);
        if let Some(watch) = self.watch.take() {
            let is_answered = matches!(end.outcome(), Outcome::Success | Outcome::ClientError);
            watch.stop(&self.shared.state, is_answered);
        }
        self.settles(&end, result)
    }

    fn hedge_ended(&mut self, result: &Result<S::Response, S::Error>) -> bool {
        let end = self.exchange.inspect(result);
        if end.outcome() == Outcome::Success {
            self.shared.state.count_win();
        }
        self.settles(&end, result)
    }

    /// Whether a result is that of the call, whatever the other attempts would come to. After one that is not, hedges the call at
    /// once, if nothing speaks against it.
    fn settles(&mut self, end: &CallEnd, result: &Result<S::Response, S::Error>) -> bool {
        use Outcome::{Cancelled, ClientError, Success};
        if matches!(end.outcome(), Success | ClientError | Cancelled) {
            return true;
        }
        // What was rejected on the way never reached the callee: a hedge would meet the same guard. What timed out did.
        let is_rejected = end
            .rejection_reason()
            .is_some_and(|r| r != RejectionReason::DeadlineExceeded);
        match self.exchange.pushback(result) {
            _ if is_rejected => self.push_back(None),
            Some(Pushback::Never) => self.push_back(None),
            Some(Pushback::After(wait)) if !wait.is_zero() => self.push_back(Some(wait)),
            _ => self.hedge(),
        }
        false
    }

    /// Sends no hedge before that time, or none at all.
    fn push_back(&mut self, wait: Option<Duration>) {
        self.is_pushed_back = true;
        match wait {
            Some(wait) => self.wait = wait,
            None => self.left = 0,
        }
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
            if mem::take(&mut self.is_pushed_back) {
                self.hedges.retain(|hedge| hedge.is_sent());
                at = 0;
            }
            if let Some(hedge) = self.hedges.get_mut(at) {
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
                continue;
            }
            let goes_on = is_first_going_on || self.hedges.iter().any(|hedge| hedge.is_sent());
            match failed.take() {
                Some(result) if !goes_on => return Poll::Ready(result),
                Some(Ok(response)) => {
                    self.unwanted = Some(Box::pin(self.exchange.drain(response)));
                }
                _ => {}
            }
            self.poll_unwanted(cx);
            ready!(self.poll_timer(timer.as_mut(), cx));
            self.hedge();
        }
    }

    /// Reads on in a response that is of no use, so that its connection can be used again.
    fn poll_unwanted(&mut self, cx: &mut Context<'_>) {
        if let Some(unwanted) = &mut self.unwanted
            && unwanted.as_mut().poll(cx).is_ready()
        {
            self.unwanted = None;
        }
    }

    /// Waits until the next hedge is due. The first call that waits makes the timer.
    fn poll_timer(&mut self, mut timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
        if timer.is_none() {
            if self.is_past(self.wait) {
                self.left = 0;
            }
            if self.left == 0 || self.is_one_waiting() {
                return Poll::Pending;
            }
            timer.set(Some(sleep(self.wait)));
        }
        if let Some(sleep) = timer.as_mut().as_pin_mut() {
            // The attempts may have used up the cooperative budget of the task, as they may at every poll.
            ready!(pin!(unconstrained(sleep)).poll(cx));
        }
        timer.set(None);
        Poll::Ready(())
    }

    /// Whether a hedge waits for its instance: there is only one at a time.
    fn is_one_waiting(&self) -> bool {
        !self.hedges.iter().all(|hedge| hedge.is_sent())
    }

    /// Whether nobody waits any more for an answer, that much later.
    fn is_past(&self, later: Duration) -> bool {
        let deadline = self.deadline.as_ref();
        deadline.is_some_and(|deadline| deadline.remaining() <= later)
    }

    /// Begins a hedge. What speaks against it now will still do so later, so that the call is not hedged again.
    fn hedge(&mut self) {
        self.wait = self.delay;
        if self.is_one_waiting() {
            return;
        }
        match self.next_hedge() {
            Some(hedge) => {
                self.begun += 1;
                self.left -= 1;
                self.hedges.push(hedge);
            }
            None => self.left = 0,
        }
    }

    fn next_hedge(&mut self) -> Option<Begun<S, Req>> {
        if self.left == 0 || self.is_past(Duration::ZERO) {
            return None;
        }
        let withdrawal = self.shared.state.withdraw()?;
        let protocol = &self.shared.protocol;
        let mut request = protocol.replay(&self.kept)?;
        let number = self.begun + 1;
        protocol.set_header(&mut request, HEDGE_ATTEMPT, &number.to_string());
        Some(Box::pin(Attempt::Waiting {
            service: self.service.clone(),
            request: Some(request),
            number,
            withdrawal,
            deadline: self.deadline.clone(),
        }))
    }
}

/// A first attempt that is dropped was beaten by a hedge, or given up by its caller.
impl<S, P, Req> Drop for Hedging<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.stop(&self.shared.state, false);
        }
    }
}
