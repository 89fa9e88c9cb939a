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
    AttemptedInstances, CallEnd, Deadline, DrainResponse, InspectResult, Outcome, Pushback,
    RejectionReason, ReplayRequest,
};

use crate::{
    attempt::Attempt,
    state::{LatencyTimer, SharedState},
};

/// The header of a hedge, with its number within the call, from 1. A first attempt has no such header.
pub const HEDGE_ATTEMPT: &str = "x-hedge-attempt";

/// The hedges of a call, and everything that the call needs to send more of them.
pub(crate) struct Hedging<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    shared: Arc<SharedState<P>>,
    exchange: P::Exchange,
    recorded: P::Recorded,
    /// Cloned for each hedge.
    service: S,
    deadline: Option<Deadline>,
    /// A load balancer further in sends a hedge to an instance that is not among them.
    attempted: AttemptedInstances,
    /// The number of hedges that were started, and of those that may still be.
    started: u8,
    remaining: u8,
    delay: Duration,
    /// The time before the next hedge: the delay, or the time of a pushback.
    wait: Duration,
    timer: Option<LatencyTimer>,
    /// At most one hedge, the last, waits for readiness.
    hedges: Vec<AttemptFuture<S, Req>>,
    /// A pushback cancels the hedge that waits for readiness.
    has_pushback: bool,
    /// The last poll began with the hedges.
    began_with_hedges: bool,
    /// The last failed response, drained while other attempts run.
    drain: Option<DrainFuture<P::Exchange, S::Response>>,
}

type DrainFuture<X, T> = Pin<Box<<X as DrainResponse<T>>::Drain>>;

/// Boxed, so that a call without hedges, as most calls are, stays small.
type AttemptFuture<S, A> = Pin<Box<Attempt<S, <S as Service<A>>::Future, A>>>;

/// The parts of a call from which [`Hedging`] makes hedges.
pub(crate) struct HedgeParts<S, X, K> {
    pub(crate) service: S,
    pub(crate) exchange: X,
    pub(crate) recorded: K,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) attempted: AttemptedInstances,
}

impl<S, P, Req> Hedging<S, P, Req>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
{
    #[inline(always)]
    pub(crate) fn new(
        shared: Arc<SharedState<P>>,
        parts: HedgeParts<S, P::Exchange, P::Recorded>,
        (delay, timer): (Duration, Option<LatencyTimer>),
    ) -> Self {
        Self {
            remaining: shared.state.config.hedges,
            shared,
            exchange: parts.exchange,
            recorded: parts.recorded,
            service: parts.service,
            deadline: parts.deadline,
            attempted: parts.attempted,
            started: 0,
            delay,
            wait: delay,
            timer,
            hedges: Vec::new(),
            has_pushback: false,
            began_with_hedges: false,
            drain: None,
        }
    }

    /// Returns true if this poll begins with the hedges: every second poll does, because the attempt that is polled first may use up the
    /// cooperative budget of the task.
    #[inline(always)]
    pub(crate) fn begins_with_hedges(&mut self) -> bool {
        self.began_with_hedges = !self.began_with_hedges && !self.hedges.is_empty();
        self.began_with_hedges
    }

    /// Polls an attempt of the call.
    #[inline(always)]
    pub(crate) fn poll_attempt<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.attempted.enter(poll)
    }

    /// Records the result of the first attempt, and returns true if it is the result of the call.
    #[inline(always)]
    pub(crate) fn on_first_result(&mut self, result: &Result<S::Response, S::Error>) -> bool {
        let end = self.exchange.inspect(result);
        if let Some(timer) = self.timer.take() {
            let has_response = matches!(end.outcome(), Outcome::Success | Outcome::ClientError);
            timer.stop(&self.shared.state, has_response);
        }
        self.ends_call(&end, result)
    }

    fn on_hedge_result(&mut self, result: &Result<S::Response, S::Error>) -> bool {
        let end = self.exchange.inspect(result);
        if end.outcome() == Outcome::Success {
            self.shared.state.count_win();
        }
        self.ends_call(&end, result)
    }

    /// Returns true if a result is that of the call, without regard to the other attempts. After any other result the next hedge is
    /// started at once, unless it is not allowed.
    fn ends_call(&mut self, end: &CallEnd, result: &Result<S::Response, S::Error>) -> bool {
        use Outcome::{Cancelled, ClientError, Success};
        if matches!(end.outcome(), Success | ClientError | Cancelled) {
            return true;
        }
        // A call that an inner guard rejected did not reach the upstream, and the guard would reject a hedge too. A call that timed out
        // may have reached it.
        let is_rejected = end
            .rejection_reason()
            .is_some_and(|r| r != RejectionReason::DeadlineExceeded);
        match self.exchange.pushback(result) {
            _ if is_rejected => self.push_back(None),
            Some(Pushback::Never) => self.push_back(None),
            Some(Pushback::After(wait)) if !wait.is_zero() => self.push_back(Some(wait)),
            _ => self.start_hedge(),
        }
        false
    }

    /// Delays the next hedge, or prevents all further hedges.
    fn push_back(&mut self, wait: Option<Duration>) {
        self.has_pushback = true;
        match wait {
            Some(wait) => self.wait = wait,
            None => self.remaining = 0,
        }
    }

    /// Polls the hedges, and starts the next one after the delay; ready with the result of the call.
    ///
    /// `failed` is the result of an attempt that has just failed. It is the result of the call if no other attempt is in flight;
    /// otherwise it is dropped.
    pub(crate) fn poll_hedges(
        &mut self,
        mut sleep: Pin<&mut Option<Sleep>>,
        is_first_in_flight: bool,
        mut failed: Option<Result<S::Response, S::Error>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let mut index = 0;
        loop {
            if mem::take(&mut self.has_pushback) {
                self.hedges.retain(|hedge| hedge.is_sent());
                index = 0;
            }
            if let Some(hedge) = self.hedges.get_mut(index) {
                let polled = self.attempted.enter(|| hedge.as_mut().poll(cx));
                let Poll::Ready(ended) = polled else {
                    index += 1;
                    continue;
                };
                drop(self.hedges.swap_remove(index));
                sleep.set(None);
                match ended {
                    Some(result) if self.on_hedge_result(&result) => return Poll::Ready(result),
                    Some(result) => failed = Some(result),
                    None => self.remaining = 0,
                }
                continue;
            }
            let is_in_flight =
                is_first_in_flight || self.hedges.iter().any(|hedge| hedge.is_sent());
            match failed.take() {
                Some(result) if !is_in_flight => return Poll::Ready(result),
                Some(Ok(response)) => {
                    self.drain = Some(Box::pin(self.exchange.drain(response)));
                }
                _ => {}
            }
            self.poll_drain(cx);
            ready!(self.poll_sleep(sleep.as_mut(), cx));
            self.start_hedge();
        }
    }

    /// Reads the rest of a failed response, so that its connection can be used again.
    fn poll_drain(&mut self, cx: &mut Context<'_>) {
        if let Some(drain) = &mut self.drain
            && drain.as_mut().poll(cx).is_ready()
        {
            self.drain = None;
        }
    }

    /// Waits until the next hedge is due. The first call that waits creates the timer.
    fn poll_sleep(&mut self, mut timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
        if timer.is_none() {
            if self.has_deadline_within(self.wait) {
                self.remaining = 0;
            }
            if self.remaining == 0 || self.has_unsent_hedge() {
                return Poll::Pending;
            }
            timer.set(Some(sleep(self.wait)));
        }
        if let Some(sleep) = timer.as_mut().as_pin_mut() {
            // The attempts may use up the cooperative budget of the task in every poll.
            ready!(pin!(unconstrained(sleep)).poll(cx));
        }
        timer.set(None);
        Poll::Ready(())
    }

    /// Returns true if a hedge waits for readiness.
    fn has_unsent_hedge(&self) -> bool {
        !self.hedges.iter().all(|hedge| hedge.is_sent())
    }

    /// Returns true if the deadline passes within this time.
    fn has_deadline_within(&self, time: Duration) -> bool {
        let deadline = self.deadline.as_ref();
        deadline.is_some_and(|deadline| deadline.remaining() <= time)
    }

    /// Starts a hedge. If it is not allowed now, no later one is, and the call is not hedged again.
    fn start_hedge(&mut self) {
        self.wait = self.delay;
        if self.has_unsent_hedge() {
            return;
        }
        match self.next_hedge() {
            Some(hedge) => {
                self.started += 1;
                self.remaining -= 1;
                self.hedges.push(hedge);
            }
            None => self.remaining = 0,
        }
    }

    fn next_hedge(&mut self) -> Option<AttemptFuture<S, Req>> {
        if self.remaining == 0 || self.has_deadline_within(Duration::ZERO) {
            return None;
        }
        let withdrawal = self.shared.state.withdraw()?;
        let protocol = &self.shared.protocol;
        let mut request = protocol.replay(&self.recorded)?;
        let number = self.started + 1;
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

/// Records a first attempt that is dropped because a hedge won, or because the caller dropped the call.
impl<S, P, Req> Drop for Hedging<S, P, Req>
where
    S: Service<Req>,
    P: ReplayRequest<Req, Exchange: DrainResponse<S::Response>>,
{
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.stop(&self.shared.state, false);
        }
    }
}
