use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::TraceIds;

/// The ids of a call that begins a trace, before they are computed.
///
/// A seed is a number that is unique in the process. The ids are computed from it when they are first needed, so that a call that
/// is neither recorded nor logged does not pay for them.
///
/// ```
/// use towerkit_core::{TraceIds, TraceSeed};
///
/// let seed = TraceSeed::next();
/// seed.enter(|| assert_eq!(TraceIds::current(), Some(seed.ids())));
/// assert_ne!(TraceSeed::next().ids(), seed.ids());
/// ```
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSeed(NonZeroU64);

thread_local! {
    /// The next seed of this thread; the lower half is zero when it needs another block.
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Blocks of seeds that were given to threads.
static BLOCKS: AtomicU64 = AtomicU64::new(1);

/// Random keys, by which the ids of this process differ from those of other processes.
static KEYS: LazyLock<[u64; 3]> =
    LazyLock::new(|| [(); 3].map(|()| RandomState::new().hash_one(0)));

impl TraceSeed {
    /// Returns a seed that is unique in this process.
    ///
    /// Each thread takes seeds from a block of its own. A process that forks without an exec copies blocks and keys, so that both
    /// processes continue with the same seeds.
    #[inline(always)]
    #[must_use]
    pub fn next() -> Self {
        let next = NEXT.get();
        let seed = match NonZeroU64::new(next) {
            Some(seed) if next as u32 != 0 => seed,
            _ => Self::first_of_block(),
        };
        NEXT.set(seed.get().wrapping_add(1));
        Self(seed)
    }

    #[cold]
    #[inline(never)]
    fn first_of_block() -> NonZeroU64 {
        // Relaxed: blocks only have to differ.
        let block = BLOCKS.fetch_add(1, Relaxed);
        NonZeroU64::new(block << 32 | 1).unwrap_or(NonZeroU64::MIN)
    }

    /// Returns the trace id as two numbers. The second is statistically random, but not secret.
    #[inline(always)]
    #[must_use]
    pub fn trace(self) -> [u64; 2] {
        let [first, second, _] = *KEYS;
        // An all-zero trace id is invalid; the second number alone distinguishes the traces of a process.
        [self.mixed(first) | 1, self.mixed(second)]
    }

    /// Returns the span id.
    #[inline(always)]
    #[must_use]
    pub fn span(self) -> u64 {
        let [.., key] = *KEYS;
        // An all-zero span id is invalid.
        self.mixed(key).max(1)
    }

    /// Computes the ids, of a trace that is not recorded.
    #[must_use]
    pub fn ids(self) -> TraceIds {
        let [first, second] = self.trace();
        let trace = u128::from(first) << 64 | u128::from(second);
        TraceIds {
            trace: trace.to_be_bytes(),
            span: self.span().to_be_bytes(),
            flags: TraceIds::RANDOM,
        }
    }

    /// Runs a function with the ids of this seed, and restores the previous ids, also after a panic.
    #[inline(always)]
    pub fn enter<R>(self, run: impl FnOnce() -> R) -> R {
        TraceIds::enter_seed(self.0.get(), run)
    }

    pub(crate) fn of(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }

    /// The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators), a bijection.
    #[inline(always)]
    const fn mixed(self, key: u64) -> u64 {
        let mut mixed = self.0.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    /// The first numbers of splitmix64 from the state 0, as its authors publish them.
    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let numbers = [1, 2, 3].map(|seed| TraceSeed(NonZeroU64::new(seed).unwrap()).mixed(0));
        let published = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!(numbers, published);
    }

    /// TR-10
    #[test]
    fn ids_are_unique_over_threads_and_never_zero() {
        const EACH: usize = 50_000;
        let draw = || {
            let ids = (0..EACH).map(|_| TraceSeed::next().ids());
            ids.map(|ids| (ids.trace, ids.span)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(draw)).collect();
        let ids = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        let (traces, spans): (HashSet<_>, HashSet<_>) = ids.unzip();
        assert_eq!((traces.len(), spans.len()), (8 * EACH, 8 * EACH));
        assert!(!traces.contains(&[0; 16]) && !spans.contains(&[0; 8]));
    }

    #[test]
    fn a_thread_goes_on_with_another_block() {
        thread::spawn(|| {
            let first = TraceSeed::next().0.get();
            NEXT.set(first | u64::from(u32::MAX));
            let last = TraceSeed::next().0.get();
            let next = TraceSeed::next().0.get();
            assert_eq!(last, first | u64::from(u32::MAX));
            assert_ne!(next >> 32, first >> 32);
            assert_eq!(next as u32, 1);
        })
        .join()
        .unwrap();
    }
}
