use std::sync::atomic::{AtomicUsize, Ordering};

use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection, RejectionReason};

/// Limits the number of calls in flight.
#[derive(Debug)]
pub struct InFlightLimitPolicy {
    /// The number of free permits.
    pub permits: AtomicUsize,
}

impl Policy for InFlightLimitPolicy {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {
        self.permits.fetch_add(1, Ordering::Relaxed);
    }
}

impl<Req> Guard<Req> for InFlightLimitPolicy {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let relaxed = Ordering::Relaxed;
        self.permits
            .fetch_update(relaxed, relaxed, |permits| permits.checked_sub(1))
            .map(drop)
            .map_err(|_| Rejection::new(RejectionReason::Overloaded, "in-flight limit"))
    }
}
