use towerkit_ratelimit::Quota;

use crate::{InvalidSetting, invalid::Problem};

/// A quota in whole numbers that a double holds exactly, as the script on Redis computes.
///
/// Tokens flow in at `count` per `period`. Measured in ticks of `period / gcd` to the token, where `gcd` is the greatest common
/// divisor of the period and the count, a whole number of ticks flows in within a microsecond: nothing is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Ticks of a token.
    pub(crate) token: u64,
    /// Ticks that flow in within a microsecond.
    pub(crate) flow: u64,
    /// Tokens that the bucket holds.
    pub(crate) burst: u32,
}

impl Measure {
    /// The whole numbers that a double holds exactly end here.
    const EXACT: u64 = 1 << 53;

    pub(crate) fn of(quota: &Quota) -> Result<Self, InvalidSetting> {
        let inexact = || InvalidSetting(Problem::Inexact(*quota));
        let (period, count) = (quota.period().as_nanos(), 1000 * u128::from(quota.count()));
        let divisor = gcd(period, count);
        let token = u64::try_from(period / divisor).map_err(|_| inexact())?;
        let flow = u64::try_from(count / divisor).map_err(|_| inexact())?;
        let burst = quota.burst_size();
        let largest = u128::from(token) * u128::from(burst) + u128::from(token.max(flow));
        if largest > u128::from(Self::EXACT) {
            return Err(inexact());
        }
        Ok(Self { token, flow, burst })
    }

    /// Ticks that the bucket holds.
    pub(crate) fn size(&self) -> u64 {
        self.token * u64::from(self.burst)
    }

    /// Microseconds in which the bucket fills.
    pub(crate) fn fill(&self) -> u64 {
        self.size().div_ceil(self.flow)
    }
}

fn gcd(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn measure(count: u32, per: Duration, burst: u32) -> Result<Measure, InvalidSetting> {
        Measure::of(&Quota::new(count, per).unwrap().burst(burst).unwrap())
    }

    #[test]
    fn tokens_and_microseconds_are_whole_numbers_of_ticks() {
        let second = Duration::from_secs(1);
        for (count, per, burst, token, flow) in [
            (1, second, 1, 1_000_000, 1),
            (10, second, 10, 100_000, 1),
            (7, second, 10, 1_000_000, 7),
            (30_000, second, 300, 100, 3),
            (1_000_000_000, second, u32::MAX, 1, 1000),
            (3, Duration::from_nanos(7), 1, 7, 3000),
            (100, 24 * 3600 * second, 1000, 864_000_000, 1),
        ] {
            let expected = Measure { token, flow, burst };
            assert_eq!(measure(count, per, burst), Ok(expected));
        }
    }

    /// T-07, RL-06
    #[test]
    fn a_quota_beyond_53_bits_is_a_typed_error() {
        let (second, odd) = (Duration::from_secs(1), Duration::from_nanos(999_999_999));
        assert!(measure(999_999_937, odd, 9_006_199).is_ok());
        let error = measure(999_999_937, odd, 9_006_200).unwrap_err();
        assert_eq!(
            error.to_string(),
            "redis cannot count 999999937 per 999.999999ms, burst 9006200 exactly in 53 bits"
        );
        assert!(measure(999_999_937, second, u32::MAX).is_ok());
        assert!(measure(100, second, u32::MAX).is_ok());
        assert!(measure(1, 30 * 24 * 3600 * second, 20).is_ok());
    }

    #[test]
    fn a_bucket_fills_in_its_burst_over_its_rate() {
        let measure = measure(3, Duration::from_secs(1), 10).unwrap();
        assert_eq!(measure.size(), 10_000_000);
        assert_eq!(measure.fill(), 3_333_334);
    }
}
