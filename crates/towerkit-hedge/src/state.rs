use std::{sync::Arc, time::Duration};

use towerkit_core::{Event, EventQueue};

use crate::{
    HedgeSnapshot,
    allowance::Allowance,
    config::{Config, DelaySource},
    delay::Delay,
    sync::{AtomicU64, Ordering},
};

/// What all services of a layer share.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) delay: Delay,
    pub(crate) allowance: Allowance,
    outbox: EventQueue,
    // Relaxed, all of them: they are counted, and guard nothing.
    calls: AtomicU64,
    hedges: AtomicU64,
    wins: AtomicU64,
    rejected: AtomicU64,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            delay: match config.delay_source {
                DelaySource::Fixed(bounds) => Delay::fixed(bounds),
                DelaySource::Percentile(percentile) => Delay::of(percentile),
            },
            allowance: Allowance::new(config.cap),
            outbox: EventQueue::new(config.sink.clone()),
            calls: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            wins: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            config,
        }
    }

    /// Takes note of a call that may be hedged, and returns how long it waits before that.
    #[inline(always)]
    pub(crate) fn begin(&self) -> (Duration, Option<Watch>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.allowance.deposit();
        let (delay, now) = self.delay.of_call(|| self.config.clock.now());
        let watch = now.map(|began| Watch { began, delay });
        (Duration::from_micros(u64::from(delay)), watch)
    }

    /// Takes the cost of one hedge out of the layer's own cap.
    pub(crate) fn withdraw(self: &Arc<Self>) -> Option<Withdrawal> {
        if self.allowance.take() {
            return Some(Withdrawal {
                state: self.clone(),
                is_spent: false,
            });
        }
        self.rejected.fetch_add(1, Ordering::Relaxed);
        None
    }

    pub(crate) fn count_win(&self) {
        self.wins.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> HedgeSnapshot {
        let (delay, _) = self.delay.of_call(|| self.config.clock.now());
        HedgeSnapshot {
            calls: self.calls.load(Ordering::Relaxed),
            hedges: self.hedges.load(Ordering::Relaxed),
            wins: self.wins.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            available: self.allowance.available(),
            delay: Duration::from_micros(u64::from(delay)),
        }
    }
}

/// When a first attempt began, and the delay it was given; only where the delay follows such times.
#[derive(Debug)]
pub(crate) struct Watch {
    began: u64,
    delay: u32,
}

impl Watch {
    pub(crate) fn stop(self, state: &State, is_answered: bool) {
        let now = state.config.clock.now();
        state.delay.record(self.began, now, is_answered, self.delay);
    }
}

/// What a hedge costs, taken out of the cap, and given back if the hedge is not sent.
pub(crate) struct Withdrawal {
    state: Arc<State>,
    is_spent: bool,
}

impl Withdrawal {
    /// Takes out of the shared budget what the cap allows: last of all, as that gives nothing back. `false` if it has nothing.
    pub(crate) fn spend(&mut self, number: u8) -> bool {
        let state = &self.state;
        let budget = state.config.budget.as_ref();
        if budget.is_some_and(|budget| !budget.try_withdraw()) {
            state.rejected.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.is_spent = true;
        state.hedges.fetch_add(1, Ordering::Relaxed);
        let name = state.config.name.clone();
        state.outbox.push(Event::Hedged { name, number });
        state.outbox.deliver();
        true
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if !self.is_spent {
            self.state.allowance.give_back();
        }
    }
}
