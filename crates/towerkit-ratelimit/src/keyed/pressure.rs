use std::sync::Arc;

use towerkit_core::{Event, EventQueue, EventSink};

use crate::sync::{AtomicU64, Ordering};

/// Says that a limit runs out of room for keys, or finds none, each once a second at most.
#[derive(Debug)]
pub(crate) struct Pressure {
    name: &'static str,
    overflowed: Count,
    evicted: Count,
    nameless: Count,
    /// When the next report is due, of each of the two.
    next: [AtomicU64; 2],
    /// None if nobody listens.
    outbox: Option<EventQueue>,
}

/// How many there were, and how many of them were reported.
#[derive(Debug)]
struct Count {
    all: AtomicU64,
    said: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Pressure {
    pub(crate) fn new(name: &'static str, sink: Option<Arc<dyn EventSink>>) -> Self {
        Self {
            name,
            overflowed: Count::new(),
            evicted: Count::new(),
            nameless: Count::new(),
            next: [AtomicU64::new(0), AtomicU64::new(0)],
            outbox: sink.map(|sink| EventQueue::new(Some(sink))),
        }
    }

    /// Counts a call whose key found no room. `evicted` keys lost their place so far.
    pub(crate) fn overflowed(&self, now: u64, evicted: u64) {
        self.overflowed.add();
        self.report(&self.next[0], now, || Event::KeyTableFull {
            name: self.name.into(),
            evicted: self.evicted.rest(evicted),
            calls: self.overflowed.rest(self.count()),
        });
    }

    /// Counts a call of which nothing tells the client.
    pub(crate) fn nameless(&self, now: u64) {
        let calls = self.nameless.add();
        self.report(&self.next[1], now, || Event::ClientAddressMissing {
            name: self.name.into(),
            calls: self.nameless.rest(calls),
        });
    }

    fn report(&self, next: &AtomicU64, now: u64, event: impl FnOnce() -> Event) {
        let Some(outbox) = &self.outbox else { return };
        let due = next.load(Ordering::Relaxed);
        let after = now.saturating_add(SECOND);
        // Relaxed: whoever wins the exchange has a second for itself.
        if now >= due
            && next
                .compare_exchange(due, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            outbox.push(event());
            outbox.deliver();
        }
    }

    /// Returns how many calls found no room.
    pub(crate) fn count(&self) -> u64 {
        self.overflowed.all.load(Ordering::Relaxed)
    }
}

impl Count {
    fn new() -> Self {
        Self {
            all: AtomicU64::new(0),
            said: AtomicU64::new(0),
        }
    }

    /// Counts one more, and returns how many there are.
    fn add(&self) -> u64 {
        self.all.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns how many of `all` were not reported yet.
    fn rest(&self, all: u64) -> u64 {
        all.saturating_sub(self.said.swap(all, Ordering::Relaxed))
    }
}
