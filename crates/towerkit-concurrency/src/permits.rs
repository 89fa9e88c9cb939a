use crate::{
    fraction::Fraction,
    sync::{AtomicU64, Ordering},
};

/// Counts the permits in use, in one atomic word on its own cache line.
///
/// A caller that acquires a permit synchronizes with the callers that released permits before: under a limit of one, each call sees
/// the effects of the call before it.
#[repr(align(128))]
pub(crate) struct Permits(AtomicU64);

/// The contents of [`Permits`]: the limit (32 bits), the waiting flag (1 bit) and the calls in flight (31 bits).
///
/// One word, changed by compare-and-swap, so that a call is admitted under the limit that it was compared with, and so that a call
/// that starts to wait and a call that ends cannot miss each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PermitState(u64);

impl Permits {
    /// The highest limit. The count never exceeds it, and so never reaches the waiting flag.
    pub(crate) const MAX: u32 = PermitState::COUNT;

    pub(crate) fn new(limit: u32) -> Self {
        Self(AtomicU64::new(PermitState::new(limit).0))
    }

    pub(crate) fn state(&self) -> PermitState {
        PermitState(self.0.load(Ordering::Relaxed))
    }

    /// Takes a permit if one is free and no call waits.
    #[inline(always)]
    pub(crate) fn try_acquire(&self) -> bool {
        self.acquire_if(|state| state.in_flight() < state.limit() && !state.is_waiting())
    }

    /// Takes a permit if fewer than `part` of the limit are in use, where `part` is at least one call.
    ///
    /// Fails while other calls wait, unless `skip_queue` is set.
    pub(crate) fn try_acquire_below(&self, part: Fraction, skip_queue: bool) -> bool {
        self.acquire_if(|state| {
            let ceiling = part.of_limit(state.limit()).max(1);
            state.in_flight() < ceiling && (skip_queue || !state.is_waiting())
        })
    }

    #[inline(always)]
    fn acquire_if(&self, is_free: impl Fn(PermitState) -> bool) -> bool {
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            let state = PermitState(bits);
            if !is_free(state) {
                return false;
            }
            let acquired = state.with_call().0;
            let swapped =
                self.0
                    .compare_exchange_weak(bits, acquired, Ordering::Acquire, Ordering::Relaxed);
            match swapped {
                Ok(_) => return true,
                Err(current) => bits = current,
            }
        }
    }

    /// Releases a permit, and returns the state from before.
    #[inline(always)]
    pub(crate) fn release(&self) -> PermitState {
        // AcqRel: a caller that sees the waiting flag goes on to read the queue, which must be as current as the flag.
        PermitState(self.0.fetch_sub(1, Ordering::AcqRel))
    }

    /// Sets the waiting flag. Later releases see it; permits released earlier are visible to the caller.
    pub(crate) fn set_waiting(&self) {
        self.0.fetch_or(PermitState::WAITING, Ordering::AcqRel);
    }

    /// Clears the waiting flag.
    pub(crate) fn clear_waiting(&self) {
        self.0.fetch_and(!PermitState::WAITING, Ordering::AcqRel);
    }

    /// Sets the limit, and returns the state from before.
    pub(crate) fn set_limit(&self, limit: u32) -> PermitState {
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            let state = PermitState(bits);
            let changed = state.with_limit(limit).0;
            let swapped =
                self.0
                    .compare_exchange_weak(bits, changed, Ordering::AcqRel, Ordering::Relaxed);
            match swapped {
                Ok(_) => return state,
                Err(current) => bits = current,
            }
        }
    }
}

impl PermitState {
    const COUNT: u32 = i32::MAX as u32;
    const WAITING: u64 = 1 << 31;
    const LIMIT_SHIFT: u32 = 32;

    const fn new(limit: u32) -> Self {
        Self((limit as u64) << Self::LIMIT_SHIFT)
    }

    #[inline(always)]
    pub(crate) const fn limit(self) -> u32 {
        (self.0 >> Self::LIMIT_SHIFT) as u32
    }

    #[inline(always)]
    pub(crate) const fn in_flight(self) -> u32 {
        self.0 as u32 & Self::COUNT
    }

    #[inline(always)]
    pub(crate) const fn is_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    const fn with_limit(self, limit: u32) -> Self {
        Self(Self::new(limit).0 | self.0 as u32 as u64)
    }

    #[inline(always)]
    const fn with_call(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_word_do_not_overlap() {
        let max = PermitState::new(Permits::MAX).0 | PermitState::WAITING | u64::from(Permits::MAX);
        let state = PermitState(max);
        assert_eq!(
            (state.limit(), state.in_flight()),
            (Permits::MAX, Permits::MAX)
        );
        let state = state.with_limit(1);
        assert_eq!((state.limit(), state.in_flight()), (1, Permits::MAX));
        assert!(state.is_waiting() && !PermitState::new(7).with_call().is_waiting());
        assert_eq!(PermitState::new(7).with_call().in_flight(), 1);
    }
}
