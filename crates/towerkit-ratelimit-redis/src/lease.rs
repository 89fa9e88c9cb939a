use crate::sync::{AtomicU64, Ordering};

/// Tokens that this process took from Redis ahead of the calls that will spend them.
///
/// They stand in two lots, each with its own end, so that a token never outlives the lease under which it was taken: the older lot
/// is spent first, and the next lease takes the place of what is left of it. Both counts and the number of the lease are one word,
/// so that whoever spends a token of a lease that has just been replaced notices and looks again.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The number of the younger lot, then the tokens of the two: 32, 16 and 16 bits. The younger lot is that of its own parity.
    word: AtomicU64,
    /// When the tokens of a lot end.
    ends: [AtomicU64; 2],
}

/// What came of spending a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    /// A token, and there are enough left.
    Token,
    /// A token, and it is time for the next lease.
    Last,
    /// There was none.
    Nothing,
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
    /// The most tokens that a lease holds.
    pub(crate) const MOST: u32 = COUNT as u32;

    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            ends: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// Spends a token if `mine` says that the lease is still the caller's. Fewer than `mark` left are few.
    ///
    /// `mine` is asked after the word is read, and the token is spent only if the word is still the same then: a lease changes hands
    /// through [`clear`](Self::clear), which changes the word.
    #[inline(always)]
    pub(crate) fn spend(&self, now: u64, mark: u32, mine: impl Fn() -> bool) -> Spent {
        // Acquire pairs with the Release of `renew`: who sees the tokens of a lease sees its end, and whose it is.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let young = younger(word);
            let old = 1 - young;
            let (in_old, in_young) = (self.left(word, old, now), self.left(word, young, now));
            let lot = if in_old > 0 { old } else { young };
            if in_old + in_young == 0 || !mine() {
                return Spent::Nothing;
            }
            // Release: that the ends were read comes before what `renew`, which acquires the word, writes over them.
            let swapped = self.word.compare_exchange_weak(
                word,
                word - (1 << shift(lot)),
                Ordering::Release,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) if in_old <= 1 && in_old + in_young - 1 < u64::from(mark) => {
                    return Spent::Last;
                }
                Ok(_) => return Spent::Token,
                Err(seen) => word = seen,
            }
        }
    }

    /// Adds a lease of `count` tokens until `end`, in place of what is left of the lease before the last.
    ///
    /// One at a time: whoever calls it holds the lock of the place.
    pub(crate) fn renew(&self, count: u32, end: u64) {
        let lot = self.turn(false);
        self.ends[lot].store(end, Ordering::Relaxed);
        let count = u64::from(count).min(COUNT) << shift(lot);
        self.word.fetch_add(count, Ordering::Release);
    }

    /// Takes all tokens away. Under the same lock as [`renew`](Self::renew).
    pub(crate) fn clear(&self) {
        self.turn(true);
    }

    /// Begins the next lot, empty, and returns which one it is.
    fn turn(&self, clear: bool) -> usize {
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

    /// Returns how many tokens can be spent.
    pub(crate) fn held(&self, now: u64) -> u32 {
        let word = self.word.load(Ordering::Acquire);
        (self.left(word, 0, now) + self.left(word, 1, now)) as u32
    }

    /// Returns how many tokens were not spent, whether or not they still could be.
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

    /// Every lease since the beginning, with what it brought and what was spent of it.
    #[derive(Default)]
    struct Model {
        leases: Vec<(i128, i128, i128)>,
        first: usize,
    }

    impl Model {
        /// The leases that count, the older first: the last two.
        fn living(&mut self, now: i128) -> Vec<&mut (i128, i128, i128)> {
            let first = self.first.max(self.leases.len().saturating_sub(2));
            let living = self.leases[first..].iter_mut();
            living
                .filter(|(brought, spent, end)| spent < brought && now < *end)
                .collect()
        }

        fn held(&mut self, now: i128) -> i128 {
            self.living(now)
                .iter()
                .map(|(brought, spent, _)| brought - spent)
                .sum()
        }

        fn spend(&mut self, now: i128, mark: i128) -> Spent {
            let Some(lease) = self.living(now).into_iter().next() else {
                return Spent::Nothing;
            };
            lease.1 += 1;
            let lots = self.living(now).len();
            let youngest = self
                .leases
                .last()
                .is_some_and(|last| last.1 < last.0 && now < last.2);
            let only_youngest = lots == 0 || (lots == 1 && youngest);
            if only_youngest && self.held(now) < mark {
                Spent::Last
            } else {
                Spent::Token
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RL-01: no token is spent twice, none after its lease, none of a lease that was replaced or cleared.
        #[test]
        fn a_lease_does_what_its_history_says(steps in steps()) {
            let lease = Lease::new();
            let mut model = Model::default();
            let mut now = 1000u64;
            for step in steps {
                match step {
                    Step::Advance(by) => now += by,
                    Step::Retreat(by) => now -= by,
                    Step::Spend(mark) => {
                        let expected = model.spend(now.into(), mark.into());
                        prop_assert_eq!(lease.spend(now, mark, || true), expected);
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
        assert_eq!(lease.spend(50, 0, || true), Spent::Token);
        assert_eq!(lease.held(150), 2);
    }

    #[test]
    fn what_is_left_of_a_lease_ends_at_its_own_time() {
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
    fn a_lease_that_is_no_longer_mine_is_not_touched() {
        let lease = Lease::new();
        lease.renew(1, 100);
        assert_eq!(lease.spend(0, 0, || false), Spent::Nothing);
        assert_eq!(lease.held(0), 1);
    }

    #[test]
    fn the_number_of_a_lease_may_wrap() {
        let lease = Lease::new();
        lease
            .word
            .store(u64::from(u32::MAX) << NUMBER, Ordering::Relaxed);
        lease.renew(2, 100);
        lease.renew(Lease::MOST, 100);
        assert_eq!(lease.held(0), 2 + Lease::MOST);
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    fn spend(lease: &Lease, now: u64) -> u32 {
        u32::from(lease.spend(now, 0, || true) != Spent::Nothing)
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

    /// A lease that is replaced lends its place, not its end: no token is spent after the end that it came with.
    #[test]
    fn loom_a_token_never_gets_the_end_of_another() {
        loom::model(|| {
            let lease = Arc::new(Lease::new());
            lease.renew(1, 10);
            lease.renew(0, 10);
            let other = lease.clone();
            // Takes the lot of the first lease. Its token is worth nothing at 50; the new ones are.
            let there = thread::spawn(move || other.renew(1, 100));
            let here = spend(&lease, 50);
            there.join().unwrap();
            assert_eq!(here + lease.held(50), 1);
        });
    }

    /// Nor does a new token get the end of the lease before it.
    #[test]
    fn loom_a_token_never_gets_the_end_of_one_before() {
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

    /// The tokens of a key are never spent for the one that had the place before.
    #[test]
    fn loom_a_place_that_changes_hands_keeps_its_tokens() {
        use loom::sync::atomic::AtomicU64;

        loom::model(|| {
            let (lease, tag) = (Arc::new(Lease::new()), Arc::new(AtomicU64::new(1)));
            lease.renew(1, 10);
            let (theirs, name) = (lease.clone(), tag.clone());
            let there = thread::spawn(move || {
                theirs.clear();
                name.store(2, Ordering::Relaxed);
                theirs.renew(1, 10);
            });
            let mine = || tag.load(Ordering::Relaxed) == 1;
            let spent = lease.spend(5, 0, mine);
            there.join().unwrap();
            assert_eq!(lease.held(5), 1, "{spent:?}");
        });
    }
}
