use std::fmt;

use towerkit_core::{Call, CallEnd, Rejection, RejectionReason, WakerSet};

use crate::{
    adaptive_limit::{AdaptiveLimit, LatencySample, SampleKind},
    config::Config,
    limit_events::LimitEvents,
    limiter::Limiter,
    partitions::PermitOrigin,
    permits::PermitState,
    sync::{Mutex, lock},
};

/// The permit that an admitted call holds while it is in flight.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    pub(crate) origin: PermitOrigin,
    /// The time of admission, for an adaptive limit; 0 for a fixed one.
    pub(crate) started: u64,
}

/// The state that the services and handles of a layer share.
pub(crate) struct LimitState {
    pub(crate) limiter: Limiter,
    pub(crate) config: Config,
    pub(crate) events: LimitEvents,
    /// The services that wait in `poll_ready`, with [`Config::backpressure`].
    pub(crate) ready_waiters: Option<WakerSet>,
    adaptive: Option<Mutex<AdaptiveLimit>>,
    /// True if the end of every call must be handled, and not only of those for which others wait.
    handles_every_end: bool,
}

impl LimitState {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            limiter: Limiter::new(config.limit, &config.classes, config.queue),
            adaptive: (config.adaptive.as_ref())
                .map(|adaptive| Mutex::new(adaptive.start(config.limit))),
            events: LimitEvents::new(&config),
            ready_waiters: config.backpressure.then(WakerSet::new),
            handles_every_end: config.backpressure || config.adaptive.is_some(),
            config,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.config.clock.now()
    }

    /// Returns the time if a [`Permit`] needs it: only an adaptive limit measures durations.
    #[inline(always)]
    pub(crate) fn started<Req>(&self, call: &mut Call<'_, Req>) -> u64 {
        match self.adaptive {
            Some(_) => call.now(&self.config.clock),
            None => 0,
        }
    }

    /// Counts a rejection, and returns it.
    #[cold]
    #[inline(never)]
    pub(crate) fn rejection(&self, reason: RejectionReason) -> Rejection {
        let limit = self.limiter.state().limit();
        self.events.rejected(limit, &self.config.clock);
        Rejection::new(reason, self.config.name.clone())
    }

    /// Releases the permit of a call that ended.
    #[inline(always)]
    pub(crate) fn release(&self, permit: Permit, end: &CallEnd) {
        let before = self.limiter.release(permit.origin);
        if before.is_waiting() || self.handles_every_end {
            self.after_release(before, permit, end);
        }
    }

    /// Adds a sample to an adaptive limit, and passes the permit to the next waiter.
    #[inline(never)]
    fn after_release(&self, before: PermitState, permit: Permit, end: &CallEnd) {
        if let Some(adaptive) = &self.adaptive {
            self.on_sample(adaptive, before.in_flight(), permit, end);
        }
        if before.is_waiting() {
            self.limiter.serve_queue(self.now());
        }
        self.wake_ready_waiters();
    }

    /// Adds the duration of a call to an adaptive limit, unless another thread is adding a sample: calls never wait for that lock.
    fn on_sample(
        &self,
        adaptive: &Mutex<AdaptiveLimit>,
        in_flight: u32,
        permit: Permit,
        end: &CallEnd,
    ) {
        let Some(kind) = SampleKind::of(end) else {
            return;
        };
        let now = end.now(&self.config.clock);
        let sample = LatencySample {
            kind,
            duration: now.saturating_sub(permit.started),
            in_flight,
        };
        let Ok(mut adaptive) = adaptive.try_lock() else {
            return;
        };
        let Some(limit) = adaptive.on_sample(now, sample) else {
            return;
        };
        // Set under the lock, so that the later of two changes stays.
        let is_waiting = self.limiter.set_limit(limit);
        drop(adaptive);
        if is_waiting {
            self.limiter.serve_queue(now);
        }
        self.events.limit_changed(limit);
    }

    /// Sets the limit, which must be valid. An adaptive limit restarts from there.
    pub(crate) fn set_limit(&self, limit: u32) {
        let is_waiting = match &self.adaptive {
            // Set under the lock, so that the later of two changes stays.
            Some(adaptive) => {
                let mut adaptive = lock(adaptive);
                self.limiter.set_limit(adaptive.restart(limit))
            }
            None => self.limiter.set_limit(limit),
        };
        if is_waiting {
            self.limiter.serve_queue(self.now());
        }
        self.wake_ready_waiters();
    }

    fn wake_ready_waiters(&self) {
        if let Some(waiters) = &self.ready_waiters {
            waiters.wake_all();
        }
    }
}

impl fmt::Debug for LimitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.limiter.state();
        f.debug_struct("ConcurrencyLimit")
            .field("name", &self.config.name)
            .field("limit", &state.limit())
            .field("in_flight", &state.in_flight())
            .field("waiting", &self.limiter.waiting())
            .field("rejected", &self.events.rejections())
            .finish_non_exhaustive()
    }
}
