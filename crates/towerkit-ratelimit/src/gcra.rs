use std::time::Duration;

/// The parameters of the generic cell rate algorithm (GCRA,
/// [ITU-T I.371](https://www.itu.int/rec/T-REC-I.371) annex A, "virtual scheduling").
///
/// Times are in a sixteenth of a nanosecond, doubled: the lowest bit of a bucket's word is not part of the time, see
/// [`AtomicGcra`](crate::atomic_gcra::AtomicGcra). The interval between two tokens is rarely a whole number of units. It is rounded up,
/// so that the rate is never exceeded; at a million calls a second the loss is one call in sixteen thousand at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// The time between two tokens.
    pub(crate) emission_interval: u64,
    /// The time in which an empty bucket fills: the tolerance τ of the standard and one interval.
    pub(crate) burst_tolerance: u64,
}

impl Gcra {
    /// A nanosecond in units is a one shifted by so many bits.
    pub(crate) const SHIFT: u32 = 5;

    /// The longest time in which a bucket fills, in units.
    pub(crate) const MAX_TOLERANCE: u64 = 1 << 61;

    /// The latest time, in nanoseconds: 9 years after the clock's origin.
    pub(crate) const END: u64 = 1 << (63 - Self::SHIFT);

    /// Returns the parameters of `count` calls in each `period`, with a burst; `None` if the bucket takes too long to fill.
    ///
    /// The arguments are not zero.
    pub(crate) fn new(count: u32, period: Duration, burst: u32) -> Option<Self> {
        let sixteenths = (period.as_nanos() << (Self::SHIFT - 1)).div_ceil(count.into());
        let interval = sixteenths << 1;
        let tolerance = interval.saturating_mul(burst.into());
        let gcra = Self {
            emission_interval: u64::try_from(interval).ok()?,
            burst_tolerance: u64::try_from(tolerance).ok()?,
        };
        (gcra.burst_tolerance <= Self::MAX_TOLERANCE).then_some(gcra)
    }

    /// Returns the price of `cost` tokens: the time in which they come. A price above all tolerances is cut.
    #[inline(always)]
    pub(crate) fn price(self, cost: u32) -> u64 {
        if cost == 1 {
            return self.emission_interval;
        }
        let price = self.emission_interval.saturating_mul(u64::from(cost));
        price.min(Self::MAX_TOLERANCE + 2)
    }

    /// Converts a time or a duration from nanoseconds to units.
    pub(crate) fn units(nanos: u64) -> u64 {
        nanos.min(Self::END) << Self::SHIFT
    }

    /// Converts a duration from units to nanoseconds, rounded up.
    pub(crate) fn nanos(units: u64) -> u64 {
        units.div_ceil(1 << Self::SHIFT)
    }
}

/// The tokens of a bucket at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BucketState {
    /// The time until the bucket is full, in units.
    pub(crate) until_full: u64,
    pub(crate) gcra: Gcra,
}

/// The answer of a bucket that has too few tokens for a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InsufficientTokens {
    pub(crate) state: BucketState,
    /// The price of the call, in units.
    pub(crate) price: u64,
    /// True if the slot belongs to another key now, so that the state is not that of the caller's bucket.
    pub(crate) is_stale: bool,
}

impl BucketState {
    /// Returns the number of tokens.
    pub(crate) fn tokens(&self) -> u32 {
        let saved = self.gcra.burst_tolerance.saturating_sub(self.until_full);
        u32::try_from(saved / self.gcra.emission_interval).unwrap_or(u32::MAX)
    }

    /// Returns the nanoseconds until there is one token more; 0 if the bucket is full.
    pub(crate) fn next_token(&self) -> u64 {
        let one_more = u64::from(self.tokens()) + 1;
        let price = one_more.saturating_mul(self.gcra.emission_interval);
        let until_full = self.gcra.burst_tolerance.saturating_sub(price);
        Gcra::nanos(self.until_full.saturating_sub(until_full))
    }
}

impl InsufficientTokens {
    /// After the latest time a bucket has no tokens.
    pub(crate) const AFTER_END: Self = Self {
        state: BucketState {
            until_full: u64::MAX,
            gcra: Gcra {
                emission_interval: 2,
                burst_tolerance: 2,
            },
        },
        price: 0,
        is_stale: false,
    };

    /// The slot belongs to another key now.
    pub(crate) const STALE: Self = Self {
        is_stale: true,
        ..Self::AFTER_END
    };

    /// Returns the time after which there will be enough tokens; `None` if the call costs more than the burst.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let until_full = self.state.gcra.burst_tolerance.checked_sub(self.price)?;
        let wait = self.state.until_full.saturating_sub(until_full);
        Some(Duration::from_nanos(Gcra::nanos(wait)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_rounded_up_to_a_sixteenth_of_a_nanosecond() {
        for (count, sixteenths) in [
            (1, 16_000_000_000),
            (3, 5_333_333_334),
            (30_000, 533_334),
            (1_000_000_000, 16),
            (u32::MAX, 4),
        ] {
            let gcra = Gcra::new(count, Duration::from_secs(1), count).unwrap();
            assert_eq!(gcra.emission_interval, 2 * sixteenths);
            assert_eq!(
                gcra.burst_tolerance,
                gcra.emission_interval * u64::from(count)
            );
        }
    }
}
