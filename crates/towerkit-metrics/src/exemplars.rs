use std::sync::Mutex;

use towerkit_core::TraceIds;

/// A call that stands for others of its bucket, and the trace to look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) ids: TraceIds,
    pub(crate) value: f64,
}

/// The last exemplar of each bucket of a histogram.
///
/// Nobody waits: what comes while a slot is written or read is left out, since any other call is as good.
#[derive(Debug)]
pub(crate) struct Exemplars(Box<[Mutex<Option<Exemplar>>]>);

impl Exemplars {
    pub(crate) fn new(buckets: usize) -> Self {
        Self((0..buckets).map(|_| Mutex::default()).collect())
    }

    pub(crate) fn store(&self, bucket: usize, exemplar: Exemplar) {
        if let Some(slot) = self.0.get(bucket)
            && let Ok(mut slot) = slot.try_lock()
        {
            *slot = Some(exemplar);
        }
    }

    /// Returns the exemplar of each bucket.
    pub(crate) fn all(&self) -> Box<[Option<Exemplar>]> {
        // A lock that cannot be had is held by who writes for a moment, whose bucket shows none then.
        let read = |slot: &Mutex<Option<Exemplar>>| slot.try_lock().ok().and_then(|slot| *slot);
        self.0.iter().map(read).collect()
    }
}
