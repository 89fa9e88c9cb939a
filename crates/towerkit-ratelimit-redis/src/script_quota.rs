use towerkit_core::ConfigError;
use towerkit_ratelimit::Quota;

/// A [`Quota`] in whole numbers that a double represents exactly, because the script on Redis computes with doubles.
///
/// A bucket fills with `count` tokens per `period`. In ticks, of which a token has `period / gcd(period, 1000 × count)`, it fills by a
/// whole number per microsecond, so that no result is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScriptQuota {
    /// The ticks of a token.
    pub(crate) token: u64,
    /// The ticks by which a bucket fills per microsecond.
    pub(crate) rate: u64,
    /// The tokens of a full bucket.
    pub(crate) burst: u32,
}

impl ScriptQuota {
    /// A double represents all whole numbers up to this one exactly.
    const MAX_EXACT: u64 = 1 << 53;

    pub(crate) fn of(quota: &Quota) -> Result<Self, ConfigError> {
        let inexact = || {
            let expected = "a quota that Redis can count exactly in 53 bits";
            ConfigError::new("quota", format_args!("{quota}"), expected)
        };
        let (period, count) = (quota.period().as_nanos(), 1000 * u128::from(quota.count()));
        let divisor = gcd(period, count);
        let token = u64::try_from(period / divisor).map_err(|_| inexact())?;
        let rate = u64::try_from(count / divisor).map_err(|_| inexact())?;
        let burst = quota.burst_size();
        let largest = u128::from(token) * u128::from(burst) + u128::from(token.max(rate));
        if largest > u128::from(Self::MAX_EXACT) {
            return Err(inexact());
        }
        Ok(Self { token, rate, burst })
    }

    /// Returns the ticks of a full bucket.
    pub(crate) fn size(&self) -> u64 {
        self.token * u64::from(self.burst)
    }

    /// Returns the microseconds in which an empty bucket fills.
    pub(crate) fn fill_time(&self) -> u64 {
        self.size().div_ceil(self.rate)
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

    fn script_quota(count: u32, per: Duration, burst: u32) -> Result<ScriptQuota, ConfigError> {
        ScriptQuota::of(&Quota::new(count, per).unwrap().burst(burst).unwrap())
    }

    #[test]
    fn tokens_and_rates_are_whole_numbers_of_ticks() {
        let second = Duration::from_secs(1);
        for (count, per, burst, token, rate) in [
            (1, second, 1, 1_000_000, 1),
            (10, second, 10, 100_000, 1),
            (7, second, 10, 1_000_000, 7),
            (30_000, second, 300, 100, 3),
            (1_000_000_000, second, u32::MAX, 1, 1000),
            (3, Duration::from_nanos(7), 1, 7, 3000),
            (100, 24 * 3600 * second, 1000, 864_000_000, 1),
        ] {
            let expected = ScriptQuota { token, rate, burst };
            assert_eq!(script_quota(count, per, burst), Ok(expected));
        }
    }

    /// T-07, RL-06
    #[test]
    fn a_quota_beyond_53_bits_is_a_configuration_error() {
        let (second, odd) = (Duration::from_secs(1), Duration::from_nanos(999_999_999));
        assert!(script_quota(999_999_937, odd, 9_006_199).is_ok());
        let error = script_quota(999_999_937, odd, 9_006_200).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid quota 999999937 per 999.999999ms, burst 9006200: expected a quota that Redis can count exactly in 53 bits"
        );
        assert!(script_quota(999_999_937, second, u32::MAX).is_ok());
        assert!(script_quota(100, second, u32::MAX).is_ok());
        assert!(script_quota(1, 30 * 24 * 3600 * second, 20).is_ok());
    }

    #[test]
    fn a_bucket_fills_in_the_time_of_its_burst() {
        let quota = script_quota(3, Duration::from_secs(1), 10).unwrap();
        assert_eq!(quota.size(), 10_000_000);
        assert_eq!(quota.fill_time(), 3_333_334);
    }
}
