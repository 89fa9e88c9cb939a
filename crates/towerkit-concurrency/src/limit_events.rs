use towerkit_core::{Clock, Event, EventQueue, Name};

use crate::{
    config::Config,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// Counts rejections, and reports them and limit changes to the [`EventSink`](towerkit_core::EventSink) of a layer.
pub(crate) struct LimitEvents {
    name: Name,
    events: EventQueue,
    rejected: AtomicU64,
    /// The value of `rejected` at the last report, and its time.
    reported: AtomicU64,
    reported_at: AtomicU64,
    /// The limit at the last report.
    limit: AtomicU32,
}

impl LimitEvents {
    /// The shortest time between two reports of rejections, in nanoseconds.
    const INTERVAL: u64 = 1_000_000_000;

    pub(crate) fn new(config: &Config) -> Self {
        Self {
            name: config.name.clone(),
            events: config.events.clone(),
            rejected: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            reported_at: AtomicU64::new(0),
            limit: AtomicU32::new(config.limit),
        }
    }

    // Relaxed throughout: no other memory depends on these numbers.

    /// Returns the number of rejections.
    pub(crate) fn rejections(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Counts a rejection, and reports all since the last report if that was a second ago.
    pub(crate) fn rejected(&self, limit: u32, clock: &Clock) {
        let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.events.has_sink() {
            return;
        }
        let (now, last) = (clock.now().max(1), self.reported_at.load(Ordering::Relaxed));
        if last != 0 && now.saturating_sub(last) < Self::INTERVAL {
            return;
        }
        let swapped =
            (self.reported_at).compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            let before = self.reported.swap(rejected, Ordering::Relaxed);
            self.events.push(Event::LimitReached {
                name: self.name.clone(),
                limit,
                rejected: rejected.saturating_sub(before),
            });
            self.events.deliver();
        }
    }

    /// Reports a limit that differs by a tenth or more from the last reported one.
    pub(crate) fn limit_changed(&self, limit: u32) {
        if !self.events.has_sink() {
            return;
        }
        let last = self.limit.load(Ordering::Relaxed);
        if u64::from(limit.abs_diff(last)) * 10 < u64::from(last) {
            return;
        }
        let swapped =
            (self.limit).compare_exchange(last, limit, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() && limit != last {
            self.events.push(Event::LimitChanged {
                name: self.name.clone(),
                from: last,
                to: limit,
            });
            self.events.deliver();
        }
    }
}
