use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towerkit_core::{Call, CallEnd, Clock, Observer, Policy};

/// Counts slow calls.
#[derive(Debug)]
pub struct SlowCallObserver {
    /// The duration from which a call is slow.
    pub threshold: Duration,
    /// The clock that measures calls.
    pub clock: Clock,
    /// The number of slow calls so far.
    pub slow_calls: AtomicU64,
}

impl Policy for SlowCallObserver {
    type CallState = u64;

    fn finish(&self, start: u64, end: &CallEnd) {
        let duration = end.now(&self.clock).saturating_sub(start);
        if Duration::from_nanos(duration) >= self.threshold {
            self.slow_calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<Req> Observer<Req> for SlowCallObserver {
    fn start(&self, call: &mut Call<'_, Req>) -> u64 {
        call.now(&self.clock)
    }
}
