use std::sync::atomic::{AtomicUsize, Ordering};

use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection, RejectionReason};

/// Admits so many calls at a time.
#[derive(Debug)]
pub struct Room {
    /// How many more it would admit.
    pub free: AtomicUsize,
}

impl Policy for Room {
    type CallState = ();

    fn finish(&self, _held: (), _end: &CallEnd) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

impl<Req> Guard<Req> for Room {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let relaxed = Ordering::Relaxed;
        self.free
            .fetch_update(relaxed, relaxed, |free| free.checked_sub(1))
            .map(drop)
            .map_err(|_| Rejection::new(RejectionReason::Overloaded, "room"))
    }
}
