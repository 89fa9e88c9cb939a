use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use towerkit_core::{Clock, ConfigError};

use crate::token_bucket::{Rates, TokenBucket};

/// Limits retries and hedges to a share of the calls.
///
/// Each call deposits `ratio` of a token, and each retry or hedge withdraws a whole one. In addition, `per_second` tokens are
/// deposited each second, so that a client with few calls can retry at all. This is the retry budget of [Finagle] with its defaults:
/// 20 % of the calls, and 10 a second.
///
/// ```
/// use towerkit_retry::Budget;
///
/// let budget = Budget::new(0.15, 0)?;
/// (0..1000).for_each(|_| budget.deposit());
/// assert_eq!((0..1000).filter(|_| budget.try_withdraw()).count(), 150);
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
///
/// Over any interval the budget allows at most `ratio` retries for each call in it and in the 10 seconds before, and `per_second` for
/// each of its seconds and 10 more:
///
/// - A token deposited by a call expires after 5 to 10 seconds, so that a quiet hour does not save up for a storm. Deposits read the
///   clock at every 64th call only; after a quiet time the tokens of up to 63 earlier calls may still be there.
/// - The tokens of time are kept for 10 seconds. A new budget has all of these.
///
/// Clones share the budget. Give the same budget to every [`RetryLayer`](crate::RetryLayer) and every
/// [`HedgeLayer`](https://docs.rs/towerkit-hedge/latest/towerkit_hedge/struct.HedgeLayer.html) that calls the same upstream.
///
/// [Finagle]: https://twitter.github.io/finagle/guide/Clients.html#retries
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    tokens: TokenBucket,
    rates: Rates,
    clock: Clock,
    withdrawn: AtomicU64,
    exhausted: AtomicU64,
}

impl Budget {
    /// The number of deposits from one reading of the clock to the next.
    const DEPOSITS_PER_READING: u64 = 64;

    /// Makes a budget of `ratio` tokens for each call, rounded to a millionth, and `per_second` for each second.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `ratio` is not between 0 and 10, or if both are 0.
    pub fn new(ratio: f64, per_second: u32) -> Result<Self, ConfigError> {
        let error = |expected| ConfigError::new("budget ratio", ratio, expected);
        if !(0.0..=10.0).contains(&ratio) {
            return Err(error("a number from 0 to 10"));
        }
        // In range, so that the cast is exact.
        let per_call = (ratio * 1e6).round() as u32;
        if per_call == 0 && per_second == 0 {
            return Err(error("at least 0.000001 in a budget of 0 tokens a second"));
        }
        let rates = Rates {
            per_call,
            per_second,
        };
        Ok(Self::with_clock(rates, Clock::default()))
    }

    fn with_clock(rates: Rates, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            tokens: TokenBucket::new(rates),
            rates,
            clock,
            withdrawn: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }))
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default. Makes a new budget, which earlier clones do not share.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self::with_clock(self.0.rates, clock)
    }

    /// Deposits for one call. A layer deposits once for each call, however many attempts it makes.
    #[inline(always)]
    pub fn deposit(&self) {
        let before = self.0.tokens.deposit();
        if before.is_multiple_of(Self::DEPOSITS_PER_READING) {
            self.record_time(before + 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_time(&self, calls: u64) {
        self.0.tokens.record_time(self.0.clock.now(), calls);
    }

    /// Withdraws the token for one retry or hedge, and returns true if there was one.
    #[must_use = "a retry that the budget does not allow must not be made"]
    pub fn try_withdraw(&self) -> bool {
        let is_allowed = self.0.tokens.withdraw(self.0.clock.now());
        // Relaxed: the counts guard no other data.
        if is_allowed {
            self.0.withdrawn.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.exhausted.fetch_add(1, Ordering::Relaxed);
        }
        is_allowed
    }

    /// Returns the tokens left, and the counts.
    #[must_use]
    pub fn snapshot(&self) -> BudgetSnapshot {
        BudgetSnapshot {
            available: self.0.tokens.available(self.0.clock.now()),
            calls: self.0.tokens.calls(),
            withdrawn: self.0.withdrawn.load(Ordering::Relaxed),
            exhausted: self.0.exhausted.load(Ordering::Relaxed),
        }
    }
}

/// Allows retries for 20 % of the calls, and 10 a second.
impl Default for Budget {
    fn default() -> Self {
        Self::new(0.2, 10).expect("20 % is between 0 and 10")
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budget").field(&self.snapshot()).finish()
    }
}

/// The state of a [`Budget`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// The number of tokens left: retries or hedges that the budget would allow at once.
    pub available: u64,
    /// The number of calls that have deposited.
    pub calls: u64,
    /// The number of retries and hedges allowed.
    pub withdrawn: u64,
    /// The number of retries and hedges not allowed.
    pub exhausted: u64,
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn withdrawals(budget: &Budget) -> usize {
        (0..10_000).filter(|_| budget.try_withdraw()).count()
    }

    /// RT-01
    #[test]
    fn a_thousand_calls_allow_a_thousand_times_the_ratio() {
        let (clock, _control) = Clock::manual();
        let table = [
            (0.1, 100),
            (0.15, 150),
            (0.3, 300),
            (0.4, 400),
            (0.6, 600),
            (0.7, 700),
            (0.9, 900),
            (1.0, 1000),
            (2.0, 2000),
            (0.0015, 1),
            (10.0, 10_000),
        ];
        for (ratio, allowed) in table {
            let budget = Budget::new(ratio, 0).unwrap().clock(clock.clone());
            (0..1000).for_each(|_| budget.deposit());
            assert_eq!(budget.snapshot().available, allowed as u64);
            assert_eq!(withdrawals(&budget), allowed, "{ratio}");
        }
    }

    /// RT-03: 1,000 calls a second fail for a minute, and are retried as often as the budget allows.
    #[test]
    fn an_upstream_that_is_down_gets_at_most_the_budget() {
        let (clock, control) = Clock::manual();
        let budget = Budget::default().clock(clock);
        let (mut attempts, calls) = (0, 60_000);
        for _ in 0..calls {
            control.advance(Duration::from_millis(1));
            budget.deposit();
            attempts += 1 + (0..2).take_while(|_| budget.try_withdraw()).count();
        }
        let reserve = 100;
        let expected = calls + calls / 5 + 600 + reserve;
        assert_eq!(attempts, expected);
    }

    #[test]
    fn a_quiet_hour_does_not_save_up_tokens() {
        let (clock, control) = Clock::manual();
        let budget = Budget::new(1.0, 0).unwrap().clock(clock);
        for _ in 0..3600 {
            (0..10).for_each(|_| budget.deposit());
            control.advance(Duration::from_secs(1));
        }
        let left = withdrawals(&budget);
        assert!((50..=100 + 63).contains(&left), "{left}");
    }

    /// An idle budget has its reserve, and the tokens of up to 63 calls.
    #[test]
    fn an_idle_budget_keeps_at_most_the_tokens_of_the_last_calls() {
        let second = Duration::from_secs(1);
        let table = [
            (Duration::ZERO, 300..=300),
            (second * 5 - Duration::from_nanos(1), 300..=300),
            // They expire between half a life and a whole one.
            (second * 5, 100..=300),
            (second * 10, 100..=113),
            (second * 15, 100..=113),
            (second * 3600, 100..=113),
            (second * 1_000_000, 100..=113),
        ];
        for (quiet, allowed) in table {
            let (clock, control) = Clock::manual();
            let budget = Budget::default().clock(clock);
            control.advance(second);
            (0..1000).for_each(|_| budget.deposit());
            control.advance(quiet);
            let withdrawn = (0..300).filter(|_| budget.try_withdraw()).count();
            assert!(allowed.contains(&withdrawn), "{quiet:?}: {withdrawn}");
        }
    }

    /// T-07
    #[test]
    fn settings_out_of_range_are_typed_errors() {
        for ratio in [
            -1.0,
            -0.1,
            10.1,
            1e30,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            assert!(Budget::new(ratio, 10).is_err(), "{ratio}");
        }
        assert!(Budget::new(0.0, 0).is_err());
        assert!(Budget::new(1e-9, 0).is_err());
        assert!(Budget::new(0.0, 1).is_ok());
        assert!(Budget::new(10.0, u32::MAX).is_ok());
    }
}
