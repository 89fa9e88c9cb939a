use towerkit_core::{Clock, Event, EventQueue};

use crate::{
    settings::Settings,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// What a limit tells its event sink, and how often.
pub(crate) struct Report {
    name: &'static str,
    outbox: Option<EventQueue>,
    rejected: AtomicU64,
    /// The rejections that have been reported, and when.
    reported: AtomicU64,
    reported_at: AtomicU64,
    /// The limit that was reported last.
    limit: AtomicU32,
}

impl Report {
    /// Rejections are reported at most so often, in nanoseconds.
    const EVERY: u64 = 1_000_000_000;

    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            name: settings.name,
            outbox: (settings.sink.clone()).map(|sink| EventQueue::new(Some(sink))),
            rejected: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            reported_at: AtomicU64::new(0),
            limit: AtomicU32::new(settings.limit),
        }
    }

    // Relaxed throughout: these numbers guard nothing but themselves.

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Counts a rejection, and reports all since the last report if that is a second ago.
    pub(crate) fn reject(&self, limit: u32, clock: &Clock) {
        let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(outbox) = &self.outbox else { return };
        let (now, last) = (clock.now().max(1), self.reported_at.load(Ordering::Relaxed));
        if last != 0 && now.saturating_sub(last) < Self::EVERY {
            return;
        }
        let mine =
            (self.reported_at).compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            let before = self.reported.swap(rejected, Ordering::Relaxed);
            outbox.push(Event::LimitReached {
                name: self.name.into(),
                limit,
                rejected: rejected.saturating_sub(before),
            });
            outbox.deliver();
        }
    }

    /// Reports a limit that is a tenth away from the one that was reported last.
    pub(crate) fn limit(&self, limit: u32) {
        let Some(outbox) = &self.outbox else { return };
        let last = self.limit.load(Ordering::Relaxed);
        if u64::from(limit.abs_diff(last)) * 10 < u64::from(last) {
            return;
        }
        let mine = (self.limit).compare_exchange(last, limit, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() && limit != last {
            outbox.push(Event::LimitChanged {
                name: self.name.into(),
                from: last,
                to: limit,
            });
            outbox.deliver();
        }
    }
}
