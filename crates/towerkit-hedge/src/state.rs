use std::{sync::Arc, time::Duration};

use towerkit_core::{Event, EventQueue};

use crate::{
    config::{Config, DelaySource},
    delay::Delay,
    sync::{AtomicU64, Ordering},
    token_bucket::TokenBucket,
};

/// The state that all services of a layer share.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) delay: Delay,
    pub(crate) tokens: TokenBucket,
    pub(crate) calls: Counter,
    pub(crate) hedges: Counter,
    pub(crate) wins: Counter,
    pub(crate) rejected: Counter,
    events: EventQueue,
}

/// The [`State`] with the protocol of a service, in one allocation, so that a hedgeable call clones one reference.
pub(crate) struct SharedState<P> {
    pub(crate) state: Arc<State>,
    pub(crate) protocol: P,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            delay: match config.delay_source {
                DelaySource::Fixed(bounds) => Delay::fixed(bounds),
                DelaySource::Percentile(percentile) => Delay::of(percentile),
            },
            tokens: TokenBucket::new(config.cap),
            calls: Counter::new(),
            hedges: Counter::new(),
            wins: Counter::new(),
            rejected: Counter::new(),
            events: EventQueue::new(config.sink.clone()),
            config,
        }
    }

    /// Counts a hedgeable call, and returns its delay and the timer of its first attempt.
    #[inline(always)]
    pub(crate) fn start_call(&self) -> (Duration, Option<LatencyTimer>) {
        self.calls.increment();
        self.tokens.deposit();
        let (delay, now) = self.delay.for_call(|| self.config.clock.now());
        let timer = now.map(|started| LatencyTimer { started, delay });
        (Duration::from_micros(u64::from(delay)), timer)
    }

    /// Returns the delay of a call that starts now.
    pub(crate) fn current_delay(&self) -> Duration {
        let (delay, _) = self.delay.for_call(|| self.config.clock.now());
        Duration::from_micros(u64::from(delay))
    }

    /// Withdraws one hedge from the cap of the layer.
    pub(crate) fn withdraw(self: &Arc<Self>) -> Option<Withdrawal> {
        if self.tokens.withdraw() {
            return Some(Withdrawal {
                state: self.clone(),
                is_spent: false,
            });
        }
        self.rejected.increment();
        None
    }

    pub(crate) fn count_win(&self) {
        self.wins.increment();
    }
}

/// A counter of calls or hedges.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn increment(&self) {
        // Relaxed: no other memory depends on the count.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Measures the latency of a first attempt, if the delay is a percentile.
#[derive(Debug)]
pub(crate) struct LatencyTimer {
    started: u64,
    delay: u32,
}

impl LatencyTimer {
    pub(crate) fn stop(self, state: &State, has_response: bool) {
        let now = state.config.clock.now();
        (state.delay).record(self.started, now, has_response, self.delay);
    }
}

/// The token of one hedge. A drop refunds it, unless the hedge was sent.
pub(crate) struct Withdrawal {
    state: Arc<State>,
    is_spent: bool,
}

impl Withdrawal {
    /// Spends the token when the hedge is sent. Returns false if the [`Budget`](towerkit_retry::Budget) does not allow the hedge; it is
    /// asked last, because it accepts no refunds.
    pub(crate) fn spend(&mut self, number: u8) -> bool {
        let state = &self.state;
        let budget = state.config.budget.as_ref();
        if budget.is_some_and(|budget| !budget.try_withdraw()) {
            state.rejected.increment();
            return false;
        }
        self.is_spent = true;
        state.hedges.increment();
        let name = state.config.name.clone();
        state.events.push(Event::Hedged { name, number });
        state.events.deliver();
        true
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if !self.is_spent {
            self.state.tokens.refund();
        }
    }
}
