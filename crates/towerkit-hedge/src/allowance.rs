use towerkit_core::ConfigError;

use crate::sync::{AtomicU64, Ordering};

/// A cap on hedges: each call brings in a share of one, each hedge costs a whole one, and a burst of them can be saved up.
///
/// So over any stretch of calls the hedges are at most `ratio` for each call and `burst` more. Kept in millionths, so that no
/// fraction is lost. While nothing is taken out the purse is full, and a call only reads it.
///
/// All orderings are relaxed: the tokens stand in one word, and the terms promise nothing about it.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// Millionths of a hedge.
    purse: AtomicU64,
    /// Packed [`CapRates`].
    terms: AtomicU64,
}

/// What an [`Allowance`] allows, always changed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CapRates {
    /// Of a hedge for each call, in millionths.
    per_call: u32,
    burst: u32,
}

const HEDGE: u64 = 1_000_000;

impl CapRates {
    /// 5 % of the calls, and 10 at once.
    pub(crate) const DEFAULT: Self = Self {
        per_call: 50_000,
        burst: 10,
    };

    pub(crate) fn new(ratio: f64, burst: u32) -> Result<Self, ConfigError> {
        // In range, so that the cast is exact; what is no number is not in range.
        let per_call = (0.0..=1.0)
            .contains(&ratio)
            .then(|| (ratio * 1e6).round() as u32);
        match per_call {
            Some(per_call @ 1..) if burst > 0 => Ok(Self { per_call, burst }),
            _ => Err(ConfigError::new(
                "cap",
                (ratio, burst),
                "a ratio above 0 and at most 1, and a burst of at least 1",
            )),
        }
    }

    fn full(self) -> u64 {
        u64::from(self.burst) * HEDGE
    }

    fn pack(self) -> u64 {
        u64::from(self.per_call) << 32 | u64::from(self.burst)
    }

    fn unpack(word: u64) -> Self {
        Self {
            per_call: (word >> 32) as u32,
            burst: word as u32,
        }
    }
}

impl Allowance {
    /// Begins with a full purse.
    pub(crate) fn new(terms: CapRates) -> Self {
        Self {
            purse: AtomicU64::new(terms.full()),
            terms: AtomicU64::new(terms.pack()),
        }
    }

    /// Changes the terms. What is in the purse stays, up to the new burst.
    pub(crate) fn change(&self, terms: CapRates) {
        self.terms.store(terms.pack(), Ordering::Relaxed);
    }

    /// Pays in for one call. What is more than a full purse holds is lost.
    #[inline(always)]
    pub(crate) fn deposit(&self) {
        let terms = self.terms();
        if self.purse.load(Ordering::Relaxed) < terms.full() {
            self.pay_in(terms.per_call.into());
        }
    }

    /// Takes out what one hedge costs, if it is there.
    pub(crate) fn take(&self) -> bool {
        let full = self.terms().full();
        let taken = |purse: u64| purse.min(full).checked_sub(HEDGE);
        self.purse
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }

    /// Gives back what was taken out for a hedge that was not sent.
    pub(crate) fn give_back(&self) {
        self.pay_in(HEDGE);
    }

    /// Returns how many hedges it would allow at once.
    pub(crate) fn available(&self) -> u32 {
        let purse = self.purse.load(Ordering::Relaxed);
        u32::try_from(purse.min(self.terms().full()) / HEDGE).unwrap_or(u32::MAX)
    }

    /// Never overflows: paid in for calls only until the purse is full, and given back only what was taken.
    fn pay_in(&self, amount: u64) {
        self.purse.fetch_add(amount, Ordering::Relaxed);
    }

    fn terms(&self) -> CapRates {
        CapRates::unpack(self.terms.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Calls(u16),
        Takes(u8),
        GiveBack,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..60u16).prop_map(Step::Calls),
            3 => (1..8u8).prop_map(Step::Takes),
            1 => Just(Step::GiveBack),
        ];
        prop::collection::vec(step, 1..30)
    }

    /// All that ever happened. A hedge is allowed if, since any earlier point at which the purse can at most have been full, calls
    /// and what was given back cover it.
    struct History {
        per_call: i128,
        burst: i128,
        /// For each point: what had come in by then, and how many hedges had gone out.
        points: Vec<(i128, i128)>,
        came_in: i128,
        hedges: i128,
    }

    impl History {
        fn came_in(&mut self, amount: i128) {
            self.came_in += amount;
            self.points.push((self.came_in, self.hedges));
        }

        fn allows(&self) -> bool {
            let covers = |(came_in, hedges): &(i128, i128)| {
                let since = self.came_in - came_in + self.burst * 1_000_000;
                since >= (self.hedges - hedges + 1) * 1_000_000
            };
            self.points.iter().all(covers)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// HG-02
        #[test]
        fn hedges_in_any_period_are_at_most_the_ratio_of_its_calls_plus_the_burst(
            per_call in prop_oneof![Just(50_000u32), 1..=1_000_000u32],
            burst in 1..12u32,
            steps in steps(),
        ) {
            let allowance = Allowance::new(CapRates { per_call, burst });
            let mut history = History {
                per_call: per_call.into(),
                burst: burst.into(),
                points: vec![(0, 0)],
                came_in: 0,
                hedges: 0,
            };
            for step in steps {
                match step {
                    Step::Calls(calls) => for _ in 0..calls {
                        allowance.deposit();
                        history.came_in(history.per_call);
                    },
                    Step::Takes(takes) => for _ in 0..takes {
                        let is_allowed = history.allows();
                        prop_assert_eq!(allowance.take(), is_allowed);
                        history.hedges += i128::from(is_allowed);
                    },
                    Step::GiveBack => {
                        allowance.give_back();
                        history.came_in(1_000_000);
                    }
                }
            }
        }
    }

    #[test]
    fn a_new_cap_applies_at_once_and_keeps_the_saved_hedges() {
        let allowance = Allowance::new(CapRates::new(0.5, 10).unwrap());
        allowance.change(CapRates::new(0.5, 3).unwrap());
        assert_eq!(allowance.available(), 3);
        assert_eq!((0..9).filter(|_| allowance.take()).count(), 3);
        allowance.change(CapRates::new(1.0, 100).unwrap());
        assert_eq!(allowance.available(), 0);
        allowance.deposit();
        assert_eq!(allowance.available(), 1);
    }

    /// T-07
    #[test]
    fn an_invalid_cap_is_an_error() {
        for ratio in [0.0, -0.05, 1.01, 1e-9, f64::NAN, f64::INFINITY] {
            assert!(CapRates::new(ratio, 10).is_err(), "{ratio}");
        }
        assert!(CapRates::new(0.05, 0).is_err());
        let most = Allowance::new(CapRates::new(1.0, u32::MAX).unwrap());
        most.give_back();
        assert_eq!(most.available(), u32::MAX);
    }
}
