use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// A number that decays exponentially, and the time at which it was written, in one atomic word.
///
/// Times are nanoseconds on one clock. A time before the one that was written counts as that one, so that a clock that steps back
/// costs only accuracy.
#[derive(Debug)]
pub(crate) struct DecayingNumber(AtomicU64);

/// A half-life, as its reciprocal per tick: the exponent of 2 that a tick takes away, in units of 2^-39.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfLife {
    exponent_per_tick: u64,
}

/// A tick is 2^20 ns, about a millisecond. Ticks wrap after 52 days, and count as no time after half of that.
const TICK: u32 = 20;

impl HalfLife {
    const UNIT_BITS: u32 = 39;

    /// Makes the half-life with which a number of 1 adds up to `time` for ever, an exponential decay with this time constant.
    pub(crate) fn of_time_constant(time: Duration) -> Self {
        let ticks = time.as_nanos() as f64 * std::f64::consts::LN_2 / f64::from(1u32 << TICK);
        let unit = (1u64 << Self::UNIT_BITS) as f64;
        Self {
            exponent_per_tick: (unit / ticks.max(1.0)) as u64,
        }
    }

    /// Returns the rest of 1 after `ticks`: exact at whole half-lives, linear between them, and at least 2^-30.
    ///
    /// The bits of an f32, read as a number, are its binary logarithm with straight lines between the powers of two
    /// (N. N. Schraudolph: A fast, compact approximation of the exponential function, 1999).
    #[inline(always)]
    fn decay(self, ticks: u32) -> f32 {
        let exponent = self.exponent_per_tick.saturating_mul(ticks.into());
        let mantissa_bits = f32::MANTISSA_DIGITS - 1;
        let bits = (exponent >> (Self::UNIT_BITS - mantissa_bits)).min(30 << mantissa_bits);
        f32::from_bits(1f32.to_bits() - bits as u32)
    }
}

impl DecayingNumber {
    /// Below this a number is zero.
    const NEGLIGIBLE: f32 = 0.01;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns true if the number was never written, or is negligible.
    #[inline(always)]
    pub(crate) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Returns the number at a time; `None` if it was never written.
    #[inline(always)]
    pub(crate) fn at(&self, now: u64, half_life: HalfLife) -> Option<f32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            word => Some(decayed(word, now, half_life)),
        }
    }

    /// Returns the number at a time, and forgets it if it is negligible.
    #[cold]
    #[inline(never)]
    pub(crate) fn at_or_forget(&self, now: u64, half_life: HalfLife) -> f32 {
        let word = self.0.load(Ordering::Relaxed);
        if word == 0 {
            return 0.0;
        }
        let value = decayed(word, now, half_life);
        if value < Self::NEGLIGIBLE {
            // Not if it was written meanwhile.
            let _ = self
                .0
                .compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        value
    }

    /// Replaces the number by one that is made of its present value.
    #[inline(always)]
    pub(crate) fn update(
        &self,
        now: u64,
        half_life: HalfLife,
        mut next: impl FnMut(Option<f32>, f32) -> f32,
    ) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let value = (word != 0).then(|| value_of(word));
            let (kept, at) = if word == 0 {
                (0.0, ticks(now))
            } else {
                let elapsed = elapsed(word, now);
                (
                    half_life.decay(elapsed),
                    (word as u32).wrapping_add(elapsed),
                )
            };
            let new = pack(next(value, kept), at);
            // A sample below a peak of the same tick.
            if new == word {
                return;
            }
            // Relaxed: the word is all there is.
            match self
                .0
                .compare_exchange_weak(word, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }

    /// Adds to the number, up to a million.
    #[cold]
    pub(crate) fn add(&self, amount: f32, now: u64, half_life: HalfLife) {
        self.update(now, half_life, |value, kept| {
            (value.unwrap_or(0.0) * kept + amount).min(1e6)
        });
    }

    /// Includes a sample in a peak EWMA: a sample above the average replaces it, one below it is averaged.
    #[inline(always)]
    pub(crate) fn include_peak(&self, sample: f32, now: u64, half_life: HalfLife) {
        self.update(now, half_life, |value, kept| match value {
            Some(value) if sample < value => value * kept + sample * (1.0 - kept),
            _ => sample,
        });
    }

    /// Copies another number.
    pub(crate) fn copy_from(&self, other: &Self) {
        self.0
            .store(other.0.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Sets the number to zero.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[inline(always)]
fn ticks(now: u64) -> u32 {
    (now >> TICK) as u32
}

/// A word is never 0: the lowest bit of the number, which does not matter, is set.
#[inline(always)]
fn pack(value: f32, ticks: u32) -> u64 {
    u64::from(value.to_bits() | 1) << 32 | u64::from(ticks)
}

#[inline(always)]
fn value_of(word: u64) -> f32 {
    f32::from_bits((word >> 32) as u32)
}

#[inline(always)]
fn elapsed(word: u64, now: u64) -> u32 {
    let elapsed = ticks(now).wrapping_sub(word as u32);
    if elapsed > u32::MAX / 2 { 0 } else { elapsed }
}

#[inline(always)]
fn decayed(word: u64, now: u64, half_life: HalfLife) -> f32 {
    value_of(word) * half_life.decay(elapsed(word, now))
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_number_decays_by_half_in_each_half_life() {
        let half_life = HalfLife::of_time_constant(Duration::from_secs_f64(1.0 / 0.693));
        let number = DecayingNumber::new();
        number.add(8.0, SECOND, half_life);
        for (seconds, value) in [(1, 8.0), (2, 4.0), (3, 2.0), (4, 1.0), (60, 0.0)] {
            let seen = number.at(seconds * SECOND, half_life).unwrap();
            assert!((seen - value).abs() < 0.02, "{seen} after {seconds} s");
        }
    }

    /// The sum over time of a number is its time constant, for every millisecond of which it counts.
    #[test]
    fn a_number_of_one_adds_up_to_its_time_constant() {
        for millis in [10, 1_000, 60_000] {
            let half_life = HalfLife::of_time_constant(Duration::from_millis(millis));
            let number = DecayingNumber::new();
            number.add(1.0, 0, half_life);
            let step = millis * 1_000_000 / 100;
            let sum: f64 = (0..4_000)
                .map(|n| f64::from(number.at(n * step, half_life).unwrap()) * step as f64 / 1e6)
                .sum();
            // The straight lines between half-lives are above the curve by 4 percent.
            assert!(
                (sum / millis as f64 - 1.05).abs() < 0.2,
                "{sum} of {millis}"
            );
        }
    }

    #[test]
    fn a_negligible_number_is_forgotten() {
        let half_life = HalfLife::of_time_constant(Duration::from_secs(1));
        let number = DecayingNumber::new();
        number.add(1.0, 0, half_life);
        assert!(number.at_or_forget(SECOND, half_life) > 0.3);
        assert!(!number.is_zero());
        number.at_or_forget(10 * SECOND, half_life);
        assert!(number.is_zero());
    }

    #[test]
    fn a_peak_counts_at_once_and_a_fall_slowly() {
        let half_life = HalfLife::of_time_constant(Duration::from_secs(10));
        let number = DecayingNumber::new();
        number.include_peak(10.0, 0, half_life);
        number.include_peak(100.0, 0, half_life);
        let value = |now| number.at(now, half_life).unwrap();
        assert!((value(0) - 100.0).abs() < 0.1);
        number.include_peak(10.0, 0, half_life);
        assert!((value(0) - 100.0).abs() < 0.1);
        number.include_peak(10.0, 7 * SECOND, half_life);
        assert!((value(7 * SECOND) - 55.0).abs() < 1.0);
    }

    proptest! {
        /// A clock may go back, jump, or wrap around.
        #[test]
        fn a_number_stays_between_zero_and_what_was_added(times in prop::collection::vec(any::<u64>(), 1..50)) {
            let half_life = HalfLife::of_time_constant(Duration::from_secs(1));
            let number = DecayingNumber::new();
            for (count, now) in times.iter().enumerate() {
                number.add(1.0, *now, half_life);
                let value = number.at(*now, half_life).unwrap();
                prop_assert!(value > 0.0 && value <= count as f32 + 1.01, "{}", value);
            }
        }
    }
}
