use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// The accounts of a [`Budget`](crate::Budget), in whole tokens: one token is one retry.
///
/// An account is a mark that only rises: how many of the tokens that ever came in are spent or have expired. What is left is what
/// came in above the mark. So a withdrawal is one compare-and-swap, no fraction is ever lost, and no order of events spends a token
/// twice. All words only grow, and none is read as a promise about another: hence every ordering is relaxed.
#[derive(Debug)]
pub(crate) struct Bank {
    terms: Terms,
    /// The calls that were ever deposited.
    calls: AtomicU64,
    /// Of the tokens that calls brought in.
    spent: AtomicU64,
    /// Of the tokens that time brought in.
    spent_of_reserve: AtomicU64,
    /// When the current generation of deposits began, and with how many calls.
    generation_at: AtomicU64,
    generation_from: AtomicU64,
    /// The calls that are known to have been deposited before that generation was over.
    known: AtomicU64,
}

/// What a bank pays in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Tokens for each call, in millionths.
    pub(crate) per_call: u32,
    /// Tokens for each second.
    pub(crate) per_second: u32,
}

impl Bank {
    /// How long the tokens live that calls brought in, at most; and how many seconds of the others are kept.
    pub(crate) const LIFE: Duration = Duration::from_secs(10);

    /// Deposits expire by generations of half a life, so that each lives between half a life and a whole one.
    const GENERATION: u64 = Self::LIFE.as_nanos() as u64 / 2;

    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            calls: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            spent_of_reserve: AtomicU64::new(0),
            generation_at: AtomicU64::new(0),
            generation_from: AtomicU64::new(0),
            known: AtomicU64::new(0),
        }
    }

    /// Pays in for one call, and returns how many came before it.
    #[inline(always)]
    pub(crate) fn deposit(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes one token, if there is one: of those that calls brought in, which expire, before those that time did.
    pub(crate) fn withdraw(&self, now: u64) -> bool {
        self.turn(now);
        let earned = self.terms.earned(self.calls());
        let minted = self.terms.minted(now);
        take(&self.spent, 0, earned)
            || take(&self.spent_of_reserve, minted, self.terms.kept(minted))
    }

    /// Begins another generation if the current one is over, upon which deposits expire: those before it, and after a gap also its
    /// own, as far as they are known to be its own. Returns whether it was over.
    pub(crate) fn turn(&self, now: u64) -> bool {
        let began = self.generation_at.load(Ordering::Relaxed);
        let passed = now.saturating_sub(began);
        if passed < Self::GENERATION {
            return false;
        }
        // All are read before the turn, so that a thread that is held up after it expires nothing that is younger.
        let mut over = self.generation_from.load(Ordering::Relaxed);
        if passed >= 2 * Self::GENERATION {
            over = over.max(self.known.load(Ordering::Relaxed));
        }
        let from = self.calls();
        let turn =
            self.generation_at
                .compare_exchange(began, now, Ordering::Relaxed, Ordering::Relaxed);
        if turn.is_ok() {
            self.spent
                .fetch_max(self.terms.earned(over), Ordering::Relaxed);
            self.generation_from.fetch_max(from, Ordering::Relaxed);
        }
        true
    }

    /// Takes note of the time after so many calls have been deposited.
    ///
    /// Without it nobody knows after a gap whether a deposit came before the gap or after it.
    pub(crate) fn look(&self, now: u64, calls: u64) {
        if !self.turn(now) {
            self.known.fetch_max(calls, Ordering::Relaxed);
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns how many tokens could be taken.
    pub(crate) fn available(&self, now: u64) -> u64 {
        self.turn(now);
        let earned = self.terms.earned(self.calls());
        let of_calls = earned.saturating_sub(self.spent.load(Ordering::Relaxed));
        let minted = self.terms.minted(now);
        let gone = self.spent_of_reserve.load(Ordering::Relaxed).max(minted);
        let of_time = self.terms.kept(minted).saturating_sub(gone);
        of_calls.saturating_add(of_time)
    }
}

impl Terms {
    /// The tokens that calls brought in, all told.
    fn earned(self, calls: u64) -> u64 {
        whole(u128::from(calls) * u128::from(self.per_call) / 1_000_000)
    }

    /// The tokens that time brought in, all told, and that have expired: as many more are there as are kept.
    fn minted(self, now: u64) -> u64 {
        whole(u128::from(now) * u128::from(self.per_second) / 1_000_000_000)
    }

    /// The tokens that time brought in and that have not expired, on top of those that have.
    fn kept(self, expired: u64) -> u64 {
        expired.saturating_add(u64::from(self.per_second) * Bank::LIFE.as_secs())
    }
}

fn whole(tokens: u128) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// Takes one of the tokens that came in, unless all are spent or expired.
fn take(spent: &AtomicU64, expired: u64, came_in: u64) -> bool {
    let mut seen = spent.load(Ordering::Relaxed);
    loop {
        let gone = seen.max(expired);
        if gone >= came_in {
            return false;
        }
        let taken =
            spent.compare_exchange_weak(seen, gone + 1, Ordering::Relaxed, Ordering::Relaxed);
        match taken {
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

    fn bank(per_call: u32, per_second: u32) -> Bank {
        Bank::new(Terms {
            per_call,
            per_second,
        })
    }

    fn withdrawals(bank: &Bank, now: u64) -> usize {
        (0..100_000).take_while(|_| bank.withdraw(now)).count()
    }

    /// All that ever happened, in rational numbers: a withdrawal is allowed if it and those since any earlier point are no more than
    /// what came in since then.
    #[derive(Default)]
    struct History {
        per_call: i128,
        per_second: i128,
        /// For each deposit, the number of its generation.
        deposits: Vec<usize>,
        /// The deposits after which somebody looked at the clock while their generation went on.
        known: usize,
        generation: usize,
        began: i128,
        /// The tokens that had expired, and the withdrawals that had been made, at each turn.
        turns: Vec<(i128, i128)>,
        of_calls: i128,
        of_time: Vec<i128>,
    }

    impl History {
        fn turn(&mut self, now: i128) -> bool {
            let passed = now - self.began;
            if passed < 5_000_000_000 {
                return false;
            }
            self.began = now;
            self.generation += 1;
            let live = self.generation - 1;
            let known = if passed < 10_000_000_000 {
                0
            } else {
                self.known
            };
            let is_old = |(number, made): &(usize, usize)| *made < live || *number < known;
            let deposits = self.deposits.iter().copied().enumerate();
            let expired = deposits.filter(is_old).count();
            let expired = (expired as i128 * self.per_call).div_euclid(1_000_000);
            self.turns.push((expired, self.of_calls));
            true
        }

        fn look(&mut self, now: i128) {
            if !self.turn(now) {
                self.known = self.deposits.len();
            }
        }

        fn minted(&self, at: i128) -> i128 {
            (at * self.per_second).div_euclid(1_000_000_000)
        }

        fn withdraw(&mut self, now: i128) -> bool {
            self.turn(now);
            let earned = (self.deposits.len() as i128 * self.per_call).div_euclid(1_000_000);
            let since =
                |(expired, before): &(i128, i128)| earned - expired > self.of_calls - before;
            if since(&(0, 0)) && self.turns.iter().all(since) {
                self.of_calls += 1;
                return true;
            }
            let kept = self.minted(now) + 10 * self.per_second;
            let made = self.of_time.len() as i128;
            let mut earlier = self.of_time.iter().zip(0..);
            let fits = earlier.all(|(at, before)| kept - self.minted(*at) > made - before);
            let is_allowed = fits && kept > made && self.per_second > 0;
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
        Turn,
        Look,
        After(u64),
        Before(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..20u8).prop_map(Step::Deposits),
            3 => (1..12u8).prop_map(Step::Withdrawals),
            1 => Just(Step::Turn),
            2 => Just(Step::Look),
            2 => (0..12 * SECOND).prop_map(Step::After),
            1 => (0..300_000_000u64).prop_map(Step::After),
            1 => (0..2 * SECOND).prop_map(Step::Before),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// RT-01, RT-03: whatever the schedule, also with timestamps out of order.
        #[test]
        fn a_withdrawal_is_allowed_exactly_when_all_that_came_in_covers_it(
            per_call in prop_oneof![Just(0), Just(150_000), Just(600_000), 0..=10_000_000u32],
            per_second in 0..3u32,
            start in prop_oneof![Just(0), 0..1000 * SECOND],
            steps in steps(),
        ) {
            let bank = bank(per_call, per_second);
            let mut history = History {
                per_call: per_call.into(),
                per_second: per_second.into(),
                ..History::default()
            };
            let mut now = start;
            for step in steps {
                match step {
                    Step::Deposits(count) => for _ in 0..count {
                        bank.deposit();
                        history.deposits.push(history.generation);
                    },
                    Step::Withdrawals(count) => for _ in 0..count {
                        prop_assert_eq!(bank.withdraw(now), history.withdraw(now.into()));
                    },
                    Step::Turn => {
                        prop_assert_eq!(bank.turn(now), history.turn(now.into()));
                    }
                    Step::Look => {
                        bank.look(now, bank.calls());
                        history.look(now.into());
                    }
                    Step::After(wait) => now += wait,
                    Step::Before(wait) => now = now.saturating_sub(wait),
                }
            }
        }
    }

    #[test]
    fn what_calls_brought_in_expires_and_what_time_brought_in_is_capped() {
        let of_calls = bank(1_000_000, 0);
        (0..1000).for_each(|_| _ = of_calls.deposit());
        of_calls.look(100 * SECOND, 1000);
        of_calls.look(105 * SECOND - 1, 1000);
        assert_eq!(of_calls.available(105 * SECOND - 1), 1000);
        assert_eq!(withdrawals(&of_calls, 105 * SECOND), 0);
        let of_time = bank(0, 3);
        assert_eq!(of_time.available(SECOND), 30);
        for now in [SECOND, 1000 * SECOND, u64::MAX / 3] {
            assert_eq!(withdrawals(&of_time, now), 30, "{now}");
        }
    }

    /// The table that every sliding structure keeps: jumps of no generation, one, one less and one more than a whole life, an hour,
    /// and back.
    #[test]
    fn whatever_time_jumps_by_nothing_lives_for_longer_than_a_life() {
        const START: u64 = 7200 * SECOND;
        let table = [
            (START, 1000),
            (START + Bank::GENERATION - 1, 1000),
            (START + Bank::GENERATION, 1000),
            (START + 2 * Bank::GENERATION - 1, 1000),
            (START + 2 * Bank::GENERATION, 0),
            (START + 2 * Bank::GENERATION + 1, 0),
            (START + 3 * Bank::GENERATION, 0),
            (START + 3600 * SECOND, 0),
            (START - 3600 * SECOND, 1000),
            (u64::MAX, 0),
        ];
        for (now, left) in table {
            let bank = bank(1_000_000, 0);
            bank.turn(START);
            (0..1000).for_each(|_| _ = bank.deposit());
            bank.look(START, 1000);
            assert_eq!(withdrawals(&bank, now), left, "{now}");
        }
    }

    /// Time runs out before the tokens that it brings in do.
    #[test]
    fn at_the_end_of_time_nothing_wraps() {
        let bank = bank(10_000_000, u32::MAX);
        bank.withdraw(u64::MAX);
        bank.turn(u64::MAX);
        assert_eq!(bank.available(u64::MAX), 0);
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    fn bank(deposits: u64) -> Arc<Bank> {
        let bank = Bank::new(Terms {
            per_call: 1_000_000,
            per_second: 0,
        });
        (0..deposits).for_each(|_| _ = bank.deposit());
        Arc::new(bank)
    }

    fn withdraw(bank: &Arc<Bank>, now: u64) -> thread::JoinHandle<bool> {
        let bank = bank.clone();
        thread::spawn(move || bank.withdraw(now))
    }

    /// RT-02
    #[test]
    fn loom_one_token_is_withdrawn_once() {
        loom::model(|| {
            let bank = bank(1);
            let others = [withdraw(&bank, 1), withdraw(&bank, 1)];
            let here = bank.withdraw(1);
            let all = others.map(|other| other.join().unwrap());
            assert_eq!(
                usize::from(here) + all.iter().filter(|won| **won).count(),
                1
            );
        });
    }

    /// RT-02: a deposit on its way brings in one token, once.
    #[test]
    fn loom_a_deposit_is_withdrawn_once() {
        loom::model(|| {
            let bank = bank(1);
            let other = thread::spawn({
                let bank = bank.clone();
                move || {
                    bank.deposit();
                    bank.withdraw(1)
                }
            });
            let here = [bank.withdraw(1), bank.withdraw(1)];
            let all = [here[0], here[1], other.join().unwrap()];
            assert!(here[0] || all[2], "{all:?}");
            let won = all.iter().filter(|won| **won).count();
            assert_eq!(won as u64 + bank.available(1), 2, "{all:?}");
        });
    }

    /// RT-02: however many notice that a generation is over, what is younger than one stays, and nothing is spent twice.
    #[test]
    fn loom_a_turn_expires_nothing_that_is_young() {
        loom::model(|| {
            let bank = bank(1);
            bank.turn(Bank::GENERATION);
            let others = [
                withdraw(&bank, 2 * Bank::GENERATION),
                withdraw(&bank, 2 * Bank::GENERATION),
            ];
            bank.deposit();
            let won = others.map(|other| other.join().unwrap());
            let won = won.iter().filter(|won| **won).count();
            let left = bank.available(2 * Bank::GENERATION + 1) as usize;
            // One may have been won before it expired; the young one is never lost.
            assert!((1..=2).contains(&(won + left)), "{won} {left}");
        });
    }

    /// RT-02: the same after a gap, with one who looks at the clock.
    #[test]
    fn loom_a_turn_after_a_gap_expires_nothing_that_is_young() {
        loom::model(|| {
            const LATER: u64 = 5 * Bank::GENERATION;
            let bank = bank(1);
            bank.look(0, 1);
            let looks = thread::spawn({
                let bank = bank.clone();
                move || {
                    let before = bank.deposit();
                    bank.look(LATER, before + 1);
                }
            });
            let won = usize::from(bank.withdraw(LATER));
            looks.join().unwrap();
            let left = bank.available(LATER + 1) as usize;
            assert!((1..=2).contains(&(won + left)), "{won} {left}");
        });
    }
}
