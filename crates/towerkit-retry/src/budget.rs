use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use towerkit_core::Clock;

use crate::{
    InvalidBudget,
    bank::{Bank, Terms},
    invalid::BudgetProblem,
};

/// How many retries are allowed for how many calls, shared by all that take from it.
///
/// Each call pays in a share of a retry, `ratio`; each retry, or hedge, takes one out. Besides there are some for each second, so that
/// a client with few calls can retry at all. This is the budget of Finagle, whose defaults it has: 20 % of the calls, and 10 a second.
///
/// ```
/// use towerkit_retry::Budget;
///
/// let budget = Budget::new(0.15, 0)?;
/// (0..1000).for_each(|_| budget.deposit());
/// assert_eq!((0..1000).filter(|_| budget.try_withdraw()).count(), 150);
/// # Ok::<_, towerkit_retry::InvalidBudget>(())
/// ```
///
/// What a call has paid in expires within 10 seconds: a quiet hour does not save up for a storm. It lives for at least 5, as deposits
/// are told apart by generations of that length. A call reads no clock for it, except every 64th: at the end of a quiet time what up
/// to 63 calls paid in before it may still be there. Of what time brings in, 10 seconds' worth is kept, and is there at the start.
///
/// Over any stretch of time this allows at most `ratio` retries for each of its calls and of those in the 10 seconds before, and
/// `per_second` for each of its seconds and 10 more.
///
/// Clones share the budget. Give the same to every layer that repeats calls to the same callee.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    bank: Bank,
    terms: Terms,
    clock: Clock,
    withdrawn: AtomicU64,
    exhausted: AtomicU64,
}

impl Budget {
    /// How often a deposit looks at the clock.
    const EVERY: u64 = 64;

    /// Allows `ratio` retries for each call, rounded to a millionth, and `per_second` more for each second.
    ///
    /// # Errors
    ///
    /// If `ratio` is not between 0 and 10, or both are 0.
    pub fn new(ratio: f64, per_second: u32) -> Result<Self, InvalidBudget> {
        if !(0.0..=10.0).contains(&ratio) {
            return Err(InvalidBudget(BudgetProblem::Ratio(ratio)));
        }
        // In range, so that the cast is exact.
        let per_call = (ratio * 1e6).round() as u32;
        if per_call == 0 && per_second == 0 {
            return Err(InvalidBudget(BudgetProblem::Nothing));
        }
        let terms = Terms {
            per_call,
            per_second,
        };
        Ok(Self::of(terms, Clock::default()))
    }

    fn of(terms: Terms, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            bank: Bank::new(terms),
            terms,
            clock,
            withdrawn: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }))
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default. Makes another budget, which earlier clones do not share.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self::of(self.0.terms, clock)
    }

    /// Pays in for one call; once a call, however often it is tried.
    #[inline(always)]
    pub fn deposit(&self) {
        let before = self.0.bank.deposit();
        if before.is_multiple_of(Self::EVERY) {
            self.look(before + 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&self, calls: u64) {
        self.0.bank.look(self.0.clock.now(), calls);
    }

    /// Takes out what one retry or hedge costs; `false` if there is not enough.
    #[must_use = "a retry that the budget does not allow must not be made"]
    pub fn try_withdraw(&self) -> bool {
        let is_allowed = self.0.bank.withdraw(self.0.clock.now());
        // Relaxed: they are counted, and guard nothing.
        if is_allowed {
            self.0.withdrawn.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.exhausted.fetch_add(1, Ordering::Relaxed);
        }
        is_allowed
    }

    /// Returns what there is, and what there has been.
    #[must_use]
    pub fn snapshot(&self) -> BudgetSnapshot {
        BudgetSnapshot {
            available: self.0.bank.available(self.0.clock.now()),
            calls: self.0.bank.calls(),
            withdrawn: self.0.withdrawn.load(Ordering::Relaxed),
            exhausted: self.0.exhausted.load(Ordering::Relaxed),
        }
    }
}

/// 20 % of the calls, and 10 a second.
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
    /// How many retries it would allow at once.
    pub available: u64,
    /// How many calls have paid in.
    pub calls: u64,
    /// How many retries it has allowed.
    pub withdrawn: u64,
    /// How many it has not.
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
        let (clock, _hand) = Clock::manual();
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

    /// RT-03: 1000 calls a second for a minute, all of which fail, and are tried as often as the budget allows.
    #[test]
    fn a_backend_that_is_down_gets_no_more_than_the_budget() {
        let (clock, hand) = Clock::manual();
        let budget = Budget::default().clock(clock);
        let (mut attempts, calls) = (0, 60_000);
        for _ in 0..calls {
            hand.advance(Duration::from_millis(1));
            budget.deposit();
            attempts += 1 + (0..2).take_while(|_| budget.try_withdraw()).count();
        }
        let reserve = 100;
        let expected = calls + calls / 5 + 600 + reserve;
        assert_eq!(attempts, expected);
    }

    #[test]
    fn a_quiet_hour_saves_nothing_up() {
        let (clock, hand) = Clock::manual();
        let budget = Budget::new(1.0, 0).unwrap().clock(clock);
        for _ in 0..3600 {
            (0..10).for_each(|_| budget.deposit());
            hand.advance(Duration::from_secs(1));
        }
        let left = withdrawals(&budget);
        assert!((50..=100 + 63).contains(&left), "{left}");
    }

    /// A budget that nobody has touched for a while is worth its reserve, and what up to 63 calls paid in.
    #[test]
    fn a_quiet_time_leaves_no_more_than_the_last_calls() {
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
            let (clock, hand) = Clock::manual();
            let budget = Budget::default().clock(clock);
            hand.advance(second);
            (0..1000).for_each(|_| budget.deposit());
            hand.advance(quiet);
            let withdrawn = (0..300).filter(|_| budget.try_withdraw()).count();
            assert!(allowed.contains(&withdrawn), "{quiet:?}: {withdrawn}");
        }
    }

    /// T-07
    #[test]
    fn nonsense_is_a_typed_error() {
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
