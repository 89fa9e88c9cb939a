use crate::sync::{AtomicU64, Ordering};

/// The tokens of one key that this process leased from Redis, in two lots with an end each.
///
/// A token expires with the lease that it came with: the older lot is spent first, and the next lease replaces the rest of it. The counts
/// of both lots and the number of the lease are one word, so that a thread that spends a token of a lease that has just been replaced
/// sees the change and tries again.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The number of the younger lease in 32 bits, and the tokens of the two lots in 16 bits each. Odd leases are in lot 1.
    word: AtomicU64,
    /// The times at which the lots expire.
    ends: [AtomicU64; 2],
}

/// The limits of a lease; times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseLimits {
    /// The time for which tokens are leased.
    pub(crate) time: u64,
    /// The largest number of tokens that are leased.
    pub(crate) size: u32,
    /// The time within which an answer must arrive.
    pub(crate) timeout: u64,
}

/// The result of [`Lease::spend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpendResult {
    /// A token was spent, and enough are left.
    Spent,
    /// A token was spent, and the next lease should be requested.
    SpentLow,
    /// There was no token.
    Empty,
}

const COUNT: u64 = 0xffff;
const NUMBER: u32 = 32;

const fn shift(lot: usize) -> u32 {
    16 * lot as u32
}

const fn tokens(word: u64, lot: usize) -> u64 {
    (word >> shift(lot)) & COUNT
}

const fn younger(word: u64) -> usize {
    (word >> NUMBER) as usize & 1
}

impl Lease {
    /// The largest number of tokens of a lease.
    pub(crate) const MAX: u32 = COUNT as u32;

    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            ends: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// Spends a token if `is_current` returns true, which says that the slot still belongs to the caller's key.
    ///
    /// `is_current` is called after the word is read, and the token is spent only if the word is unchanged: a slot changes hands
    /// through [`clear`](Self::clear), which changes the word.
    #[inline(always)]
    pub(crate) fn spend(
        &self,
        now: u64,
        low_mark: u32,
        is_current: impl Fn() -> bool,
    ) -> SpendResult {
        // Acquire pairs with the Release of `renew`: a thread that sees the tokens of a lease sees its end, and its key.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let young = younger(word);
            let old = 1 - young;
            let (in_old, in_young) = (self.left(word, old, now), self.left(word, young, now));
            let lot = if in_old > 0 { old } else { young };
            if in_old + in_young == 0 || !is_current() {
                return SpendResult::Empty;
            }
            // Release: the ends were read before `renew`, which acquires the word, overwrites them.
            let swapped = self.word.compare_exchange_weak(
                word,
                word - (1 << shift(lot)),
                Ordering::Release,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) if in_old <= 1 && in_old + in_young - 1 < u64::from(low_mark) => {
                    return SpendResult::SpentLow;
                }
                Ok(_) => return SpendResult::Spent,
                Err(seen) => word = seen,
            }
        }
    }

    /// Adds a lease of `count` tokens that expire at `end`, and drops the rest of the lease before the last.
    ///
    /// The caller holds the lock of the slot's [`Refill`](crate::key_slot::Refill).
    pub(crate) fn renew(&self, count: u32, end: u64) {
        let lot = self.next_lot(false);
        self.ends[lot].store(end, Ordering::Relaxed);
        let count = u64::from(count).min(COUNT) << shift(lot);
        self.word.fetch_add(count, Ordering::Release);
    }

    /// Drops all tokens. The caller holds the same lock as for [`renew`](Self::renew).
    pub(crate) fn clear(&self) {
        self.next_lot(true);
    }

    /// Starts the next lot, empty, and returns its index.
    fn next_lot(&self, clear: bool) -> usize {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let lot = 1 - younger(word);
            let number = ((word >> NUMBER) as u32).wrapping_add(1);
            let kept = if clear {
                0
            } else {
                word & (COUNT << shift(1 - lot))
            };
            let next = u64::from(number) << NUMBER | kept;
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return lot,
                Err(seen) => word = seen,
            }
        }
    }

    /// Returns the number of tokens that can be spent.
    pub(crate) fn held(&self, now: u64) -> u32 {
        let word = self.word.load(Ordering::Acquire);
        (self.left(word, 0, now) + self.left(word, 1, now)) as u32
    }

    /// Returns the number of tokens that were not spent, with those that have expired.
    pub(crate) fn unspent(&self) -> u32 {
        let word = self.word.load(Ordering::Relaxed);
        (tokens(word, 0) + tokens(word, 1)) as u32
    }

    #[inline(always)]
    fn left(&self, word: u64, lot: usize, now: u64) -> u64 {
        let tokens = tokens(word, lot);
        // Relaxed: see `spend`.
        if tokens > 0 && now < self.ends[lot].load(Ordering::Relaxed) {
            tokens
        } else {
            0
        }
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Advance(u64),
        Retreat(u64),
        Spend(u32),
        Renew(u32, u64),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => (0..60u64).prop_map(Step::Advance),
            1 => (0..20u64).prop_map(Step::Retreat),
            9 => (0..4u32).prop_map(Step::Spend),
            3 => (1..6u32, 0..100u64).prop_map(|(count, time)| Step::Renew(count, time)),
            1 => Just(Step::Clear),
        ];
        prop::collection::vec(step, 1..40)
    }

    /// All leases, each with the number of its tokens, the number that was spent, and its end.
    #[derive(Default)]
    struct Model {
        leases: Vec<(i128, i128, i128)>,
        first: usize,
    }

    impl Model {
        /// Returns the leases that can be spent, of the last two, the older first.
        fn valid(&mut self, now: i128) -> Vec<&mut (i128, i128, i128)> {
            let first = self.first.max(self.leases.len().saturating_sub(2));
            let valid = self.leases[first..].iter_mut();
            valid
                .filter(|(count, spent, end)| spent < count && now < *end)
                .collect()
        }

        fn held(&mut self, now: i128) -> i128 {
            self.valid(now)
                .iter()
                .map(|(count, spent, _)| count - spent)
                .sum()
        }

        fn spend(&mut self, now: i128, low_mark: i128) -> SpendResult {
            let Some(lease) = self.valid(now).into_iter().next() else {
                return SpendResult::Empty;
            };
            lease.1 += 1;
            let lots = self.valid(now).len();
            let youngest = self
                .leases
                .last()
                .is_some_and(|last| last.1 < last.0 && now < last.2);
            let only_youngest = lots == 0 || (lots == 1 && youngest);
            if only_youngest && self.held(now) < low_mark {
                SpendResult::SpentLow
            } else {
                SpendResult::Spent
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RL-01: a token is spent once, before its lease ends, and only until the lease is replaced or cleared.
        #[test]
        fn every_token_is_spent_once_and_before_its_lease_ends(steps in steps()) {
            let lease = Lease::new();
            let mut model = Model::default();
            let mut now = 1000u64;
            for step in steps {
                match step {
                    Step::Advance(by) => now += by,
                    Step::Retreat(by) => now -= by,
                    Step::Spend(low_mark) => {
                        let expected = model.spend(now.into(), low_mark.into());
                        prop_assert_eq!(lease.spend(now, low_mark, || true), expected);
                    }
                    Step::Renew(count, time) => {
                        lease.renew(count, now + time);
                        model.leases.push((count.into(), 0, (now + time).into()));
                    }
                    Step::Clear => {
                        lease.clear();
                        model.first = model.leases.len();
                    }
                }
                prop_assert_eq!(i128::from(lease.held(now)), model.held(now.into()));
            }
        }
    }

    #[test]
    fn the_older_tokens_are_spent_first() {
        let lease = Lease::new();
        lease.renew(1, 100);
        lease.renew(2, 200);
        assert_eq!(lease.spend(50, 0, || true), SpendResult::Spent);
        assert_eq!(lease.held(150), 2);
    }

    #[test]
    fn the_tokens_of_a_lease_expire_at_its_end() {
        let lease = Lease::new();
        lease.renew(3, 100);
        lease.renew(4, 200);
        assert_eq!(
            (lease.held(99), lease.held(100), lease.held(200)),
            (7, 4, 0)
        );
        assert_eq!(lease.unspent(), 7);
    }

    #[test]
    fn a_slot_that_belongs_to_another_key_gives_no_token() {
        let lease = Lease::new();
        lease.renew(1, 100);
        assert_eq!(lease.spend(0, 0, || false), SpendResult::Empty);
        assert_eq!(lease.held(0), 1);
    }

    #[test]
    fn the_number_of_a_lease_may_wrap() {
        let lease = Lease::new();
        lease
            .word
            .store(u64::from(u32::MAX) << NUMBER, Ordering::Relaxed);
        lease.renew(2, 100);
        lease.renew(Lease::MAX, 100);
        assert_eq!(lease.held(0), 2 + Lease::MAX);
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    fn spend(lease: &Lease, now: u64) -> u32 {
        u32::from(lease.spend(now, 0, || true) != SpendResult::Empty)
    }

    /// RL-01: no token is spent twice, and none is lost.
    #[test]
    fn loom_every_token_is_spent_once() {
        loom::model(|| {
            let lease = Arc::new(Lease::new());
            lease.renew(1, 10);
            lease.renew(1, 10);
            let other = lease.clone();
            let there = thread::spawn(move || spend(&other, 5) + spend(&other, 5));
            let here = spend(&lease, 5);
            assert_eq!(here + there.join().unwrap() + lease.held(5), 2);
        });
    }

    /// No token is spent after the end of its lease, also if a later lease uses the same lot.
    #[test]
    fn loom_a_token_never_gets_the_end_of_a_later_lease() {
        loom::model(|| {
            let lease = Arc::new(Lease::new());
            lease.renew(1, 10);
            lease.renew(0, 10);
            let other = lease.clone();
            // Uses the lot of the first lease, whose token has expired at 50; the new one has not.
            let there = thread::spawn(move || other.renew(1, 100));
            let here = spend(&lease, 50);
            there.join().unwrap();
            assert_eq!(here + lease.held(50), 1);
        });
    }

    /// No new token gets the end of the lease before it.
    #[test]
    fn loom_a_token_never_gets_the_end_of_an_earlier_lease() {
        loom::model(|| {
            let lease = Arc::new(Lease::new());
            lease.renew(0, 100);
            lease.renew(0, 100);
            let other = lease.clone();
            let there = thread::spawn(move || spend(&other, 50));
            lease.renew(1, 10);
            assert_eq!(there.join().unwrap(), 0);
        });
    }

    /// The tokens of a key are never spent for the key that had the slot before.
    #[test]
    fn loom_a_slot_that_changes_hands_keeps_its_tokens() {
        use loom::sync::atomic::AtomicU64;

        loom::model(|| {
            let (lease, tag) = (Arc::new(Lease::new()), Arc::new(AtomicU64::new(1)));
            lease.renew(1, 10);
            let (new, owner) = (lease.clone(), tag.clone());
            let there = thread::spawn(move || {
                new.clear();
                owner.store(2, Ordering::Relaxed);
                new.renew(1, 10);
            });
            let is_current = || tag.load(Ordering::Relaxed) == 1;
            let spent = lease.spend(5, 0, is_current);
            there.join().unwrap();
            assert_eq!(lease.held(5), 1, "{spent:?}");
        });
    }
}
