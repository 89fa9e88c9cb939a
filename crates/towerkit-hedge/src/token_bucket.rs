use towerkit_core::ConfigError;

use crate::sync::{AtomicU64, Ordering};

/// A token bucket that caps hedges: each call deposits a fraction of a token, and each hedge withdraws one.
///
/// Hedges in any period are therefore at most [`Cap`]'s ratio of its calls, plus the burst. The bucket counts millionths of a token, so
/// that no fraction is lost. While it is full, a call only reads it.
///
/// All orderings are relaxed: no other memory depends on the tokens or on the [`Cap`].
#[derive(Debug)]
pub(crate) struct TokenBucket {
    /// Millionths of a token.
    tokens: AtomicU64,
    /// A packed [`Cap`].
    cap: AtomicU64,
}

/// The ratio and the burst of a [`TokenBucket`], in one word so that they change together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cap {
    /// The deposit of one call, in millionths of a token.
    per_call: u32,
    burst: u32,
}

/// One token, in millionths.
const TOKEN: u64 = 1_000_000;

impl Cap {
    /// 5 % of the calls, and a burst of 10.
    pub(crate) const DEFAULT: Self = Self {
        per_call: 50_000,
        burst: 10,
    };

    pub(crate) fn new(ratio: f64, burst: u32) -> Result<Self, ConfigError> {
        // The cast is exact within the range, which excludes NaN.
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

    /// Returns the content of a full bucket, in millionths of a token.
    fn capacity(self) -> u64 {
        u64::from(self.burst) * TOKEN
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

impl TokenBucket {
    /// Creates a full bucket.
    pub(crate) fn new(cap: Cap) -> Self {
        Self {
            tokens: AtomicU64::new(cap.capacity()),
            cap: AtomicU64::new(cap.pack()),
        }
    }

    /// Sets the [`Cap`]. The tokens stay, up to the new burst.
    pub(crate) fn set_cap(&self, cap: Cap) {
        self.cap.store(cap.pack(), Ordering::Relaxed);
    }

    /// Deposits the fraction of one call, unless the bucket is full.
    #[inline(always)]
    pub(crate) fn deposit(&self) {
        let cap = self.cap();
        if self.tokens.load(Ordering::Relaxed) < cap.capacity() {
            self.add(cap.per_call.into());
        }
    }

    /// Withdraws one token, and returns false if the bucket has less.
    pub(crate) fn withdraw(&self) -> bool {
        let capacity = self.cap().capacity();
        let withdrawn = |tokens: u64| tokens.min(capacity).checked_sub(TOKEN);
        self.tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, withdrawn)
            .is_ok()
    }

    /// Returns the token of a hedge that was not sent.
    pub(crate) fn refund(&self) {
        self.add(TOKEN);
    }

    /// Returns the number of whole tokens.
    pub(crate) fn available(&self) -> u32 {
        let tokens = self.tokens.load(Ordering::Relaxed);
        u32::try_from(tokens.min(self.cap().capacity()) / TOKEN).unwrap_or(u32::MAX)
    }

    /// Adds millionths of a token. Cannot overflow: calls deposit only while the bucket is not full, and only withdrawn tokens are
    /// refunded.
    fn add(&self, amount: u64) {
        self.tokens.fetch_add(amount, Ordering::Relaxed);
    }

    fn cap(&self) -> Cap {
        Cap::unpack(self.cap.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Calls(u16),
        Withdraw(u8),
        Refund,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..60u16).prop_map(Step::Calls),
            3 => (1..8u8).prop_map(Step::Withdraw),
            1 => Just(Step::Refund),
        ];
        prop::collection::vec(step, 1..30)
    }

    /// All deposits and hedges. A hedge is allowed if, from every earlier point on, a full bucket plus the later deposits and refunds
    /// cover the later hedges.
    struct History {
        per_call: i128,
        burst: i128,
        /// The deposits and the hedges up to each point.
        points: Vec<(i128, i128)>,
        deposited: i128,
        hedges: i128,
    }

    impl History {
        fn deposit(&mut self, amount: i128) {
            self.deposited += amount;
            self.points.push((self.deposited, self.hedges));
        }

        fn allows(&self) -> bool {
            let covers = |(deposited, hedges): &(i128, i128)| {
                let since = self.deposited - deposited + self.burst * 1_000_000;
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
            let bucket = TokenBucket::new(Cap { per_call, burst });
            let mut history = History {
                per_call: per_call.into(),
                burst: burst.into(),
                points: vec![(0, 0)],
                deposited: 0,
                hedges: 0,
            };
            for step in steps {
                match step {
                    Step::Calls(calls) => for _ in 0..calls {
                        bucket.deposit();
                        history.deposit(history.per_call);
                    },
                    Step::Withdraw(times) => for _ in 0..times {
                        let is_allowed = history.allows();
                        prop_assert_eq!(bucket.withdraw(), is_allowed);
                        history.hedges += i128::from(is_allowed);
                    },
                    Step::Refund => {
                        bucket.refund();
                        history.deposit(1_000_000);
                    }
                }
            }
        }
    }

    #[test]
    fn a_new_cap_applies_at_once_and_keeps_the_saved_hedges() {
        let bucket = TokenBucket::new(Cap::new(0.5, 10).unwrap());
        bucket.set_cap(Cap::new(0.5, 3).unwrap());
        assert_eq!(bucket.available(), 3);
        assert_eq!((0..9).filter(|_| bucket.withdraw()).count(), 3);
        bucket.set_cap(Cap::new(1.0, 100).unwrap());
        assert_eq!(bucket.available(), 0);
        bucket.deposit();
        assert_eq!(bucket.available(), 1);
    }

    /// T-07
    #[test]
    fn an_invalid_cap_is_an_error() {
        for ratio in [0.0, -0.05, 1.01, 1e-9, f64::NAN, f64::INFINITY] {
            assert!(Cap::new(ratio, 10).is_err(), "{ratio}");
        }
        assert!(Cap::new(0.05, 0).is_err());
        let most = TokenBucket::new(Cap::new(1.0, u32::MAX).unwrap());
        most.refund();
        assert_eq!(most.available(), u32::MAX);
    }
}
