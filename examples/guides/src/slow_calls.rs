use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towerkit_core::{Call, CallEnd, Clock, Observer, Policy};

/// Counts slow calls.
#[derive(Debug)]
pub struct SlowCalls {
    /// What takes longer is slow.
    pub limit: Duration,
    /// Where time is read.
    pub clock: Clock,
    /// How many there were.
    pub seen: AtomicU64,
}

impl Policy for SlowCalls {
    type CallState = u64;

    fn finish(&self, start: u64, end: &CallEnd) {
        let took = end.now(&self.clock).saturating_sub(start);
        if Duration::from_nanos(took) > self.limit {
            self.seen.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<Req> Observer<Req> for SlowCalls {
    fn start(&self, call: &mut Call<'_, Req>) -> u64 {
        call.now(&self.clock)
    }
}
