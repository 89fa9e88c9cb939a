use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The [W3C trace context](https://www.w3.org/TR/trace-context/) of the call that this thread is polling.
///
/// A tracing layer sets it for every poll of a call. Log lines contain it, and outgoing calls continue its trace. It is part of
/// this crate, so that logs and clients need no tracing layer to compile.
///
/// ```
/// use towerkit_core::TraceIds;
///
/// let ids = TraceIds { trace: [1; 16], span: [2; 8], flags: TraceIds::SAMPLED };
/// assert_eq!(TraceIds::current(), None);
/// TraceIds::enter(Some(ids), || assert_eq!(TraceIds::current(), Some(ids)));
/// assert_eq!(TraceIds::current(), None);
/// ```
// Aligned, so that it is copied in whole words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
pub struct TraceIds {
    /// The trace id; never all zero.
    pub trace: [u8; 16],
    /// The span id; never all zero.
    pub span: [u8; 8],
    /// The trace flags.
    pub flags: u8,
}

/// The ids as words, which are copied at once: the trace, the span, the flags. All words are zero without ids.
type Words = [u64; 4];

thread_local! {
    static CURRENT: Cell<Words> = const { Cell::new([0; 4]) };
    /// The seed of ids that are not computed yet, which takes precedence over the ids above; zero without a seed.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

impl TraceIds {
    /// The flag `sampled`: the trace is recorded.
    pub const SAMPLED: u8 = 1;
    /// The flag `random`: the rightmost seven bytes of the trace id are random.
    pub const RANDOM: u8 = 2;

    /// Returns the ids of the call that this thread is polling.
    #[inline(always)]
    #[must_use]
    pub fn current() -> Option<Self> {
        if let Some(seed) = TraceSeed::of(SEED.get()) {
            return Some(seed.ids());
        }
        let words = CURRENT.get();
        (words != [0; 4]).then(|| Self::of(words))
    }

    /// Returns true if the trace of the current call is recorded; `None` outside of calls. Computes no ids.
    #[inline(always)]
    #[must_use]
    pub fn decision() -> Option<bool> {
        if SEED.get() != 0 {
            return Some(false);
        }
        Self::current().map(|ids| ids.is_sampled())
    }

    /// Returns the ids of the current call if its trace is recorded. Costs one comparison if it is not.
    #[inline(always)]
    #[must_use]
    pub fn recorded() -> Option<Self> {
        // A call with a seed is not recorded, even inside of a call that is.
        if SEED.get() != 0 {
            return None;
        }
        let words = CURRENT.get();
        (words[3] & u64::from(Self::SAMPLED) != 0).then(|| Self::of(words))
    }

    /// Returns true if the trace is recorded.
    #[inline(always)]
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// Runs a function with these ids, or without ids, and restores the previous ids, also after a panic.
    #[inline(always)]
    pub fn enter<R>(ids: Option<Self>, run: impl FnOnce() -> R) -> R {
        struct Restore(Words);
        impl Drop for Restore {
            #[inline(always)]
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(ids.map_or([0; 4], Self::words)));
        Self::enter_seed(0, run)
    }

    /// Runs a function with the ids of a seed or, if it is zero, with the ids that are set.
    #[inline(always)]
    pub(crate) fn enter_seed<R>(seed: u64, run: impl FnOnce() -> R) -> R {
        struct Restore(u64);
        impl Drop for Restore {
            #[inline(always)]
            fn drop(&mut self) {
                SEED.set(self.0);
            }
        }
        let _restore = Restore(SEED.replace(seed));
        run()
    }

    #[inline(always)]
    fn words(self) -> Words {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.trace;
        let first = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let span = u64::from_ne_bytes(self.span);
        [first, u64::from_ne_bytes(rest), span, self.flags.into()]
    }

    #[inline(always)]
    fn of([first, second, span, flags]: Words) -> Self {
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&first.to_ne_bytes());
        trace[8..].copy_from_slice(&second.to_ne_bytes());
        Self {
            trace,
            span: span.to_ne_bytes(),
            flags: flags as u8,
        }
    }
}

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
    use std::{collections::HashSet, panic::catch_unwind, thread};

    use super::*;

    #[test]
    fn ids_are_put_back_after_a_panic() {
        let ids = |span| TraceIds {
            trace: *b"0123456789abcdef",
            span: [span; 8],
            flags: 3,
        };
        TraceIds::enter(Some(ids(1)), || {
            let panicked = catch_unwind(|| TraceIds::enter(Some(ids(2)), || panic!("inside")));
            assert!(panicked.is_err());
            assert_eq!(TraceIds::current(), Some(ids(1)));
            TraceIds::enter(None, || assert_eq!(TraceIds::current(), None));
        });
        assert_eq!(TraceIds::current(), None);
    }

    #[test]
    fn ids_of_either_kind_stand_inside_of_the_other() {
        let ids = TraceIds {
            trace: [1; 16],
            span: [2; 8],
            flags: TraceIds::SAMPLED,
        };
        let seed = TraceSeed::next();
        seed.enter(|| {
            TraceIds::enter(Some(ids), || {
                assert_eq!(TraceIds::current(), Some(ids));
                assert_eq!(TraceIds::decision(), Some(true));
                seed.enter(|| {
                    assert_eq!(TraceIds::current(), Some(seed.ids()));
                    assert_eq!(TraceIds::recorded(), None);
                });
                assert_eq!(TraceIds::current(), Some(ids));
            });
            TraceIds::enter(None, || assert_eq!(TraceIds::current(), None));
            assert_eq!(TraceIds::current(), Some(seed.ids()));
            assert_eq!(TraceIds::decision(), Some(false));
        });
        assert_eq!(TraceIds::current(), None);
        assert_eq!(TraceIds::decision(), None);
    }

    #[test]
    fn only_a_trace_that_is_recorded_is_recorded() {
        for flags in 0..=u8::MAX {
            let ids = TraceIds {
                trace: [1; 16],
                span: [2; 8],
                flags,
            };
            let recorded = TraceIds::enter(Some(ids), TraceIds::recorded);
            assert_eq!(recorded, Some(ids).filter(TraceIds::is_sampled));
        }
        assert_eq!(TraceIds::recorded(), None);
    }

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
