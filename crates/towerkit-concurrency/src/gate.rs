use crate::{
    fraction::Fraction,
    sync::{AtomicU64, Ordering},
    word::Word,
};

/// The calls in flight and their limit, in one atomic word on a cache line of its own.
///
/// A call that enters acquires what the calls that left have released: under a limit of one, calls see each other's work in order.
#[repr(align(128))]
pub(crate) struct Gate(AtomicU64);

impl Gate {
    pub(crate) fn new(limit: u32) -> Self {
        Self(AtomicU64::new(Word::new(limit).bits()))
    }

    pub(crate) fn word(&self) -> Word {
        Word::of(self.0.load(Ordering::Relaxed))
    }

    /// Enters if there is room and nobody waits.
    #[inline(always)]
    pub(crate) fn enter(&self) -> bool {
        self.enter_if(|word| word.in_flight() < word.limit() && !word.is_waiting())
    }

    /// Enters if less than `part` of the limit is in use; of any limit at least one call may be. `ahead`: also if others wait.
    pub(crate) fn enter_below(&self, part: Fraction, ahead: bool) -> bool {
        self.enter_if(|word| {
            let ceiling = part.of_limit(word.limit()).max(1);
            word.in_flight() < ceiling && (ahead || !word.is_waiting())
        })
    }

    #[inline(always)]
    fn enter_if(&self, may: impl Fn(Word) -> bool) -> bool {
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            let word = Word::of(bits);
            if !may(word) {
                return false;
            }
            let entered = word.with_call().bits();
            let swapped =
                self.0
                    .compare_exchange_weak(bits, entered, Ordering::Acquire, Ordering::Relaxed);
            match swapped {
                Ok(_) => return true,
                Err(seen) => bits = seen,
            }
        }
    }

    /// Leaves, and returns the word as it was before.
    #[inline(always)]
    pub(crate) fn leave(&self) -> Word {
        // AcqRel: who finds somebody waiting goes on to look at the line, with all that led to the bit.
        Word::of(self.0.fetch_sub(1, Ordering::AcqRel))
    }

    /// Says that a call waits. A call that leaves later sees it; the room that earlier ones have left is seen by what comes next.
    pub(crate) fn mark_waiting(&self) {
        self.0.fetch_or(Word::WAITING, Ordering::AcqRel);
    }

    /// Says that no call waits any more.
    pub(crate) fn clear_waiting(&self) {
        self.0.fetch_and(!Word::WAITING, Ordering::AcqRel);
    }

    /// Sets the limit, and returns the word as it was before.
    pub(crate) fn set_limit(&self, limit: u32) -> Word {
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            let word = Word::of(bits);
            let changed = word.with_limit(limit).bits();
            let swapped =
                self.0
                    .compare_exchange_weak(bits, changed, Ordering::AcqRel, Ordering::Relaxed);
            match swapped {
                Ok(_) => return word,
                Err(seen) => bits = seen,
            }
        }
    }
}
