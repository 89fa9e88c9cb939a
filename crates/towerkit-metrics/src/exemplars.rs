use std::sync::Mutex;

use towerkit_core::TraceIds;

/// A measured value and the ids of its trace, as an example of its bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) ids: TraceIds,
    pub(crate) value: f64,
}

/// The latest [`Exemplar`] of each bucket of a histogram.
///
/// No thread waits: an exemplar that arrives while its slot is locked is discarded, because any other value of the bucket is as good.
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
        // A locked slot is being written, and its bucket is shown without an exemplar.
        let read = |slot: &Mutex<Option<Exemplar>>| slot.try_lock().ok().and_then(|slot| *slot);
        self.0.iter().map(read).collect()
    }
}
