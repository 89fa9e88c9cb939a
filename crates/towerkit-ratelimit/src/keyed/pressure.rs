use std::sync::Arc;

use towerkit_core::{Event, EventSink, Outbox};

use crate::sync::{AtomicU64, Ordering};

/// Says that a limit runs out of room for keys, once a second at most.
#[derive(Debug)]
pub(crate) struct Pressure {
    name: &'static str,
    overflowed: AtomicU64,
    /// What was said so far: evicted keys, and calls without room.
    said: [AtomicU64; 2],
    next: AtomicU64,
    /// None if nobody listens.
    outbox: Option<Outbox>,
}

const SECOND: u64 = 1_000_000_000;

impl Pressure {
    pub(crate) fn new(name: &'static str, sink: Option<Arc<dyn EventSink>>) -> Self {
        Self {
            name,
            overflowed: AtomicU64::new(0),
            said: [AtomicU64::new(0), AtomicU64::new(0)],
            next: AtomicU64::new(0),
            outbox: sink.map(|sink| Outbox::new(Some(sink))),
        }
    }

    /// Counts a call whose key found no room. `evicted` keys lost their place so far.
    pub(crate) fn overflowed(&self, now: u64, evicted: u64) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let Some(outbox) = &self.outbox else { return };
        let next = self.next.load(Ordering::Relaxed);
        let after = now.saturating_add(SECOND);
        // Relaxed: who wins the exchange has a second for itself.
        let claim = |next| {
            let claimed =
                self.next
                    .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed);
            claimed.is_ok()
        };
        if now < next || !claim(next) {
            return;
        }
        let since = |said: &AtomicU64, count: u64| {
            count.saturating_sub(said.swap(count, Ordering::Relaxed))
        };
        outbox.push(Event::RateLimitCrowded {
            name: self.name,
            evicted: since(&self.said[0], evicted),
            calls: since(&self.said[1], self.count()),
        });
        outbox.deliver();
    }

    /// Returns how many calls found no room.
    pub(crate) fn count(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }
}
