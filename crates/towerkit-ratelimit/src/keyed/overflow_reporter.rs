use towerkit_core::{Event, EventQueue, Name};

use crate::sync::{AtomicU64, Ordering};

/// Counts calls without a slot for their key, and calls without a key, and reports each as an [`Event`] at most once a second.
#[derive(Debug)]
pub(crate) struct OverflowReporter {
    name: Name,
    overflowed: ReportedCount,
    evicted: ReportedCount,
    keyless: ReportedCount,
    /// The time from which the next event of each kind may be sent.
    next_crowded: AtomicU64,
    next_keyless: AtomicU64,
    events: EventQueue,
}

/// A count, and the part of it that was reported.
#[derive(Debug)]
struct ReportedCount {
    total: AtomicU64,
    reported: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl OverflowReporter {
    pub(crate) fn new(name: Name, events: EventQueue) -> Self {
        Self {
            name,
            overflowed: ReportedCount::new(),
            evicted: ReportedCount::new(),
            keyless: ReportedCount::new(),
            next_crowded: AtomicU64::new(0),
            next_keyless: AtomicU64::new(0),
            events,
        }
    }

    /// Counts a call whose key has no slot. `evicted` is the number of evictions so far.
    pub(crate) fn on_overflow(&self, now: u64, evicted: u64) {
        self.overflowed.increment();
        self.report(&self.next_crowded, now, || Event::KeyTableFull {
            name: self.name.clone(),
            evicted: self.evicted.unreported(evicted),
            calls: self.overflowed.unreported(self.overflowed()),
        });
    }

    /// Counts a call without the key that its extractor requires.
    pub(crate) fn on_keyless(&self, now: u64) {
        let calls = self.keyless.increment();
        self.report(&self.next_keyless, now, || Event::ClientAddressMissing {
            name: self.name.clone(),
            calls: self.keyless.unreported(calls),
        });
    }

    fn report(&self, next: &AtomicU64, now: u64, event: impl FnOnce() -> Event) {
        if !self.events.has_sink() {
            return;
        }
        let due = next.load(Ordering::Relaxed);
        let after = now.saturating_add(SECOND);
        // Relaxed: the thread that wins the exchange reports for this second.
        if now >= due
            && next
                .compare_exchange(due, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.events.push(event());
            self.events.deliver();
        }
    }

    /// Returns the number of calls whose key had no slot.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.total.load(Ordering::Relaxed)
    }
}

impl ReportedCount {
    fn new() -> Self {
        Self {
            total: AtomicU64::new(0),
            reported: AtomicU64::new(0),
        }
    }

    /// Counts one more, and returns the count.
    fn increment(&self) -> u64 {
        self.total.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the part of `total` that was not reported before.
    fn unreported(&self, total: u64) -> u64 {
        total.saturating_sub(self.reported.swap(total, Ordering::Relaxed))
    }
}
