use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// The two token buckets of a [`Budget`](crate::Budget), lock-free: one token pays for one retry or hedge.
///
/// Calls deposit tokens into the first bucket, and these expire. Time deposits tokens into the second, up to a reserve.
///
/// Each bucket is one word that only grows: how many of all tokens ever deposited are spent or have expired. The tokens above that
/// mark are left. So a withdrawal is one compare-and-swap, rounding loses no fraction, and no order of events spends a token twice.
/// No word is read as a promise about another, hence every ordering is relaxed.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    rates: Rates,
    /// The number of calls ever deposited.
    calls: AtomicU64,
    /// The spent or expired tokens of those that calls deposited.
    spent_of_calls: AtomicU64,
    /// The spent or expired tokens of those that time deposited.
    spent_of_time: AtomicU64,
    /// The start of the current generation of deposits, and the number of calls deposited before it.
    generation_start: AtomicU64,
    generation_calls: AtomicU64,
    /// The number of calls known to have been deposited before the current generation ended.
    dated_calls: AtomicU64,
}

/// The rates of deposit of a [`TokenBucket`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// Tokens for each call, in millionths.
    pub(crate) per_call: u32,
    /// Tokens for each second.
    pub(crate) per_second: u32,
}

impl TokenBucket {
    /// The longest life of a token deposited by a call, and the seconds that fill the reserve.
    pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(10);

    /// Deposits expire by generations of half a life, so that each token lives between half a life and a whole one.
    const GENERATION: u64 = Self::TOKEN_LIFE.as_nanos() as u64 / 2;

    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            rates,
            calls: AtomicU64::new(0),
            spent_of_calls: AtomicU64::new(0),
            spent_of_time: AtomicU64::new(0),
            generation_start: AtomicU64::new(0),
            generation_calls: AtomicU64::new(0),
            dated_calls: AtomicU64::new(0),
        }
    }

    /// Deposits for one call, and returns the number of calls before it.
    #[inline(always)]
    pub(crate) fn deposit(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Withdraws one token, and returns true if there was one. The tokens of calls, which expire, are spent first.
    pub(crate) fn withdraw(&self, now: u64) -> bool {
        self.rotate(now);
        let of_calls = self.rates.tokens_of_calls(self.calls());
        let expired = self.rates.tokens_of_time(now);
        withdraw(&self.spent_of_calls, 0, of_calls)
            || withdraw(
                &self.spent_of_time,
                expired,
                self.rates.with_reserve(expired),
            )
    }

    /// Starts a new generation if the current one is over, and returns true if it was.
    ///
    /// Then the deposits before the current generation expire, and after a gap also its own, as far as they are known to be its own.
    pub(crate) fn rotate(&self, now: u64) -> bool {
        let start = self.generation_start.load(Ordering::Relaxed);
        let passed = now.saturating_sub(start);
        if passed < Self::GENERATION {
            return false;
        }
        // All are read before the exchange, so that a thread that is held up after it expires no younger deposit.
        let mut expired = self.generation_calls.load(Ordering::Relaxed);
        if passed >= 2 * Self::GENERATION {
            expired = expired.max(self.dated_calls.load(Ordering::Relaxed));
        }
        let calls = self.calls();
        let rotated = self.generation_start.compare_exchange(
            start,
            now,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if rotated.is_ok() {
            self.spent_of_calls
                .fetch_max(self.rates.tokens_of_calls(expired), Ordering::Relaxed);
            self.generation_calls.fetch_max(calls, Ordering::Relaxed);
        }
        true
    }

    /// Records that the first `calls` deposits were made by this time.
    ///
    /// After a gap, a deposit that was not dated may have come before the gap or after it.
    pub(crate) fn record_time(&self, now: u64, calls: u64) {
        if !self.rotate(now) {
            self.dated_calls.fetch_max(calls, Ordering::Relaxed);
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns the number of tokens left.
    pub(crate) fn available(&self, now: u64) -> u64 {
        self.rotate(now);
        let deposited = self.rates.tokens_of_calls(self.calls());
        let of_calls = deposited.saturating_sub(self.spent_of_calls.load(Ordering::Relaxed));
        let expired = self.rates.tokens_of_time(now);
        let gone = self.spent_of_time.load(Ordering::Relaxed).max(expired);
        let of_time = self.rates.with_reserve(expired).saturating_sub(gone);
        of_calls.saturating_add(of_time)
    }
}

impl Rates {
    /// Returns the number of tokens that so many calls deposit.
    fn tokens_of_calls(self, calls: u64) -> u64 {
        saturating(u128::from(calls) * u128::from(self.per_call) / 1_000_000)
    }

    /// Returns the number of tokens that time deposits by `now`. As many have expired: a full reserve is there at the start.
    fn tokens_of_time(self, now: u64) -> u64 {
        saturating(u128::from(now) * u128::from(self.per_second) / 1_000_000_000)
    }

    /// Adds the reserve, the tokens of time that have not expired, to those that have.
    fn with_reserve(self, expired: u64) -> u64 {
        let reserve = u64::from(self.per_second) * TokenBucket::TOKEN_LIFE.as_secs();
        expired.saturating_add(reserve)
    }
}

fn saturating(tokens: u128) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// Withdraws one of `deposited` tokens, unless all are spent or expired.
fn withdraw(spent: &AtomicU64, expired: u64, deposited: u64) -> bool {
    let mut seen = spent.load(Ordering::Relaxed);
    loop {
        let gone = seen.max(expired);
        if gone >= deposited {
            return false;
        }
        let withdrawn =
            spent.compare_exchange_weak(seen, gone + 1, Ordering::Relaxed, Ordering::Relaxed);
        match withdrawn {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(per_call: u32, per_second: u32) -> TokenBucket {
        TokenBucket::new(Rates {
            per_call,
            per_second,
        })
    }

    fn withdrawals(bucket: &TokenBucket, now: u64) -> usize {
        (0..100_000).take_while(|_| bucket.withdraw(now)).count()
    }

    /// The whole history, in rational numbers: a withdrawal is allowed if the withdrawals since any earlier point do not exceed the
    /// deposits since then.
    #[derive(Default)]
    struct History {
        per_call: i128,
        per_second: i128,
        /// The generation of each deposit.
        deposits: Vec<usize>,
        /// The number of deposits that were dated within their generation.
        dated: usize,
        generation: usize,
        start: i128,
        /// The expired tokens and the withdrawals made by each rotation.
        rotations: Vec<(i128, i128)>,
        of_calls: i128,
        of_time: Vec<i128>,
    }

    impl History {
        fn rotate(&mut self, now: i128) -> bool {
            let passed = now - self.start;
            if passed < 5_000_000_000 {
                return false;
            }
            self.start = now;
            self.generation += 1;
            let live = self.generation - 1;
            let dated = if passed < 10_000_000_000 {
                0
            } else {
                self.dated
            };
            let is_old = |(number, made): &(usize, usize)| *made < live || *number < dated;
            let deposits = self.deposits.iter().copied().enumerate();
            let expired = deposits.filter(is_old).count();
            let expired = (expired as i128 * self.per_call).div_euclid(1_000_000);
            self.rotations.push((expired, self.of_calls));
            true
        }

        fn record_time(&mut self, now: i128) {
            if !self.rotate(now) {
                self.dated = self.deposits.len();
            }
        }

        fn tokens_of_time(&self, at: i128) -> i128 {
            (at * self.per_second).div_euclid(1_000_000_000)
        }

        fn withdraw(&mut self, now: i128) -> bool {
            self.rotate(now);
            let earned = (self.deposits.len() as i128 * self.per_call).div_euclid(1_000_000);
            let since =
                |(expired, before): &(i128, i128)| earned - expired > self.of_calls - before;
            if since(&(0, 0)) && self.rotations.iter().all(since) {
                self.of_calls += 1;
                return true;
            }
            let deposited = self.tokens_of_time(now) + 10 * self.per_second;
            let made = self.of_time.len() as i128;
            let mut earlier = self.of_time.iter().zip(0..);
            let fits =
                earlier.all(|(at, before)| deposited - self.tokens_of_time(*at) > made - before);
            let is_allowed = fits && deposited > made && self.per_second > 0;
            if is_allowed {
                self.of_time.push(now);
            }
            is_allowed
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Deposits(u8),
        Withdrawals(u8),
        Rotate,
        RecordTime,
        After(u64),
        Before(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..20u8).prop_map(Step::Deposits),
            3 => (1..12u8).prop_map(Step::Withdrawals),
            1 => Just(Step::Rotate),
            2 => Just(Step::RecordTime),
            2 => (0..12 * SECOND).prop_map(Step::After),
            1 => (0..300_000_000u64).prop_map(Step::After),
            1 => (0..2 * SECOND).prop_map(Step::Before),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RT-01, RT-03: on every schedule, also with timestamps out of order.
        #[test]
        fn a_withdrawal_is_allowed_exactly_when_deposits_cover_it(
            per_call in prop_oneof![Just(0), Just(150_000), Just(600_000), 0..=10_000_000u32],
            per_second in 0..3u32,
            start in prop_oneof![Just(0), 0..1000 * SECOND],
            steps in steps(),
        ) {
            let bucket = bucket(per_call, per_second);
            let mut history = History {
                per_call: per_call.into(),
                per_second: per_second.into(),
                ..History::default()
            };
            let mut now = start;
            for step in steps {
                match step {
                    Step::Deposits(count) => for _ in 0..count {
                        bucket.deposit();
                        history.deposits.push(history.generation);
                    },
                    Step::Withdrawals(count) => for _ in 0..count {
                        prop_assert_eq!(bucket.withdraw(now), history.withdraw(now.into()));
                    },
                    Step::Rotate => {
                        prop_assert_eq!(bucket.rotate(now), history.rotate(now.into()));
                    }
                    Step::RecordTime => {
                        bucket.record_time(now, bucket.calls());
                        history.record_time(now.into());
                    }
                    Step::After(wait) => now += wait,
                    Step::Before(wait) => now = now.saturating_sub(wait),
                }
            }
        }
    }

    #[test]
    fn tokens_of_calls_expire_and_tokens_of_time_are_capped() {
        let of_calls = bucket(1_000_000, 0);
        (0..1000).for_each(|_| _ = of_calls.deposit());
        of_calls.record_time(100 * SECOND, 1000);
        of_calls.record_time(105 * SECOND - 1, 1000);
        assert_eq!(of_calls.available(105 * SECOND - 1), 1000);
        assert_eq!(withdrawals(&of_calls, 105 * SECOND), 0);
        let of_time = bucket(0, 3);
        assert_eq!(of_time.available(SECOND), 30);
        for now in [SECOND, 1000 * SECOND, u64::MAX / 3] {
            assert_eq!(withdrawals(&of_time, now), 30, "{now}");
        }
    }

    /// The clock jumps by zero or one generation, by about a life, by an hour, and back.
    #[test]
    fn no_token_outlives_a_life_after_a_jump_of_the_clock() {
        const START: u64 = 7200 * SECOND;
        let table = [
            (START, 1000),
            (START + TokenBucket::GENERATION - 1, 1000),
            (START + TokenBucket::GENERATION, 1000),
            (START + 2 * TokenBucket::GENERATION - 1, 1000),
            (START + 2 * TokenBucket::GENERATION, 0),
            (START + 2 * TokenBucket::GENERATION + 1, 0),
            (START + 3 * TokenBucket::GENERATION, 0),
            (START + 3600 * SECOND, 0),
            (START - 3600 * SECOND, 1000),
            (u64::MAX, 0),
        ];
        for (now, left) in table {
            let bucket = bucket(1_000_000, 0);
            bucket.rotate(START);
            (0..1000).for_each(|_| _ = bucket.deposit());
            bucket.record_time(START, 1000);
            assert_eq!(withdrawals(&bucket, now), left, "{now}");
        }
    }

    /// The clock reaches its end before the tokens of time do.
    #[test]
    fn counts_do_not_wrap_at_the_end_of_the_clock() {
        let bucket = bucket(10_000_000, u32::MAX);
        bucket.withdraw(u64::MAX);
        bucket.rotate(u64::MAX);
        assert_eq!(bucket.available(u64::MAX), 0);
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    fn bucket(deposits: u64) -> Arc<TokenBucket> {
        let bucket = TokenBucket::new(Rates {
            per_call: 1_000_000,
            per_second: 0,
        });
        (0..deposits).for_each(|_| _ = bucket.deposit());
        Arc::new(bucket)
    }

    fn withdraw(bucket: &Arc<TokenBucket>, now: u64) -> thread::JoinHandle<bool> {
        let bucket = bucket.clone();
        thread::spawn(move || bucket.withdraw(now))
    }

    /// RT-02
    #[test]
    fn loom_one_token_is_withdrawn_once() {
        loom::model(|| {
            let bucket = bucket(1);
            let others = [withdraw(&bucket, 1), withdraw(&bucket, 1)];
            let here = bucket.withdraw(1);
            let all = others.map(|other| other.join().unwrap());
            assert_eq!(
                usize::from(here) + all.iter().filter(|won| **won).count(),
                1
            );
        });
    }

    /// RT-02: a concurrent deposit adds one token, once.
    #[test]
    fn loom_a_deposit_is_withdrawn_once() {
        loom::model(|| {
            let bucket = bucket(1);
            let other = thread::spawn({
                let bucket = bucket.clone();
                move || {
                    bucket.deposit();
                    bucket.withdraw(1)
                }
            });
            let here = [bucket.withdraw(1), bucket.withdraw(1)];
            let all = [here[0], here[1], other.join().unwrap()];
            assert!(here[0] || all[2], "{all:?}");
            let won = all.iter().filter(|won| **won).count();
            assert_eq!(won as u64 + bucket.available(1), 2, "{all:?}");
        });
    }

    /// RT-02: several threads rotate at once; younger deposits stay, and no token is spent twice.
    #[test]
    fn loom_a_rotation_keeps_young_deposits() {
        loom::model(|| {
            let bucket = bucket(1);
            bucket.rotate(TokenBucket::GENERATION);
            let others = [
                withdraw(&bucket, 2 * TokenBucket::GENERATION),
                withdraw(&bucket, 2 * TokenBucket::GENERATION),
            ];
            bucket.deposit();
            let won = others.map(|other| other.join().unwrap());
            let won = won.iter().filter(|won| **won).count();
            let left = bucket.available(2 * TokenBucket::GENERATION + 1) as usize;
            // The old token may have been withdrawn before it expired; the young one is never lost.
            assert!((1..=2).contains(&(won + left)), "{won} {left}");
        });
    }

    /// RT-02: the same after a gap, with a deposit that is dated meanwhile.
    #[test]
    fn loom_a_rotation_after_a_gap_keeps_young_deposits() {
        loom::model(|| {
            const LATER: u64 = 5 * TokenBucket::GENERATION;
            let bucket = bucket(1);
            bucket.record_time(0, 1);
            let dates = thread::spawn({
                let bucket = bucket.clone();
                move || {
                    let before = bucket.deposit();
                    bucket.record_time(LATER, before + 1);
                }
            });
            let won = usize::from(bucket.withdraw(LATER));
            dates.join().unwrap();
            let left = bucket.available(LATER + 1) as usize;
            assert!((1..=2).contains(&(won + left)), "{won} {left}");
        });
    }
}
