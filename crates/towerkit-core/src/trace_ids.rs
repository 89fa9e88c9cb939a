use std::cell::Cell;

use crate::TraceSeed;

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

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

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
}
