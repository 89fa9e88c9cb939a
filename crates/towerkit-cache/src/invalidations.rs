use crate::sync::{AtomicU64, Ordering, fence};

/// Counts invalidations, so that a response that was requested before one is not cached after it.
///
/// Keys are spread over a fixed number of counters. An invalidation of one key can also keep a response of another key with the same
/// counter from being cached; the next call fetches it again.
#[derive(Debug)]
pub(crate) struct Invalidations {
    generation: AtomicU64,
    stripes: [AtomicU64; STRIPES],
}

const STRIPES: usize = if cfg!(towerkit_loom) { 1 } else { 64 };

/// The counters at the moment of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestStamp {
    pub(crate) generation: u64,
    stripe: usize,
    count: u64,
}

impl Invalidations {
    pub(crate) fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            stripes: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Returns true if the cache was not cleared since responses got this generation.
    #[inline]
    pub(crate) fn is_current_generation(&self, generation: u64) -> bool {
        // Acquire pairs with the Release of `invalidate_all`: a caller that sees the cache cleared finds no earlier response.
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Returns the counters for a key with this hash.
    pub(crate) fn stamp(&self, hash: u64) -> RequestStamp {
        let stripe = hash as usize % STRIPES;
        RequestStamp {
            generation: self.generation.load(Ordering::Acquire),
            stripe,
            count: self.stripes[stripe].load(Ordering::Acquire),
        }
    }

    /// Returns true if the key of the request was not invalidated since.
    ///
    /// The caller inserts its response, then calls this. [`invalidate`](Self::invalidate) counts, and its caller then removes the
    /// response. The fences order "insert, then read the counter" and "count, then remove", so one of the two sees the other.
    pub(crate) fn is_current(&self, stamp: &RequestStamp) -> bool {
        fence(Ordering::SeqCst);
        self.is_current_generation(stamp.generation)
            && self.stripes[stamp.stripe].load(Ordering::Acquire) == stamp.count
    }

    /// Counts an invalidation of the keys with this hash.
    pub(crate) fn invalidate(&self, hash: u64) {
        self.stripes[hash as usize % STRIPES].fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Counts an invalidation of all keys.
    pub(crate) fn invalidate_all(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }
}
