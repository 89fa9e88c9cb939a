use towerkit_core::{
    Call,
    sync::{AtomicU64, Ordering},
};
use towerkit_discovery::Instance;

use crate::{BuildTable, Candidates, Picker};

/// Chooses the instances in turn, without regard to their weights and their load.
///
/// The turns are exact, also if many threads call clones of one service. The turn goes on if the set of instances changes, and begins
/// at random, so that the first instances of a set do not get more calls than the others.
#[derive(Debug)]
pub struct RoundRobin(Counter);

impl RoundRobin {
    /// Makes a picker that begins at a random instance.
    #[must_use]
    pub fn new() -> Self {
        Self(Counter::random())
    }

    /// Makes a picker that begins at the instance with this index, in the order of the addresses.
    #[must_use]
    pub fn starting_at(index: u32) -> Self {
        Self(Counter::starting_at(index))
    }
}

impl BuildTable for RoundRobin {
    type Table = RoundRobinTable;

    fn build_table(&self, instances: &[Instance]) -> RoundRobinTable {
        RoundRobinTable(Modulus::new(instances.len()))
    }
}

/// The table of [`RoundRobin`].
#[derive(Debug)]
pub struct RoundRobinTable(Modulus);

impl<Req> Picker<Req> for RoundRobin {
    #[inline(always)]
    fn pick(
        &self,
        table: &RoundRobinTable,
        _candidates: &impl Candidates,
        _call: &Call<'_, Req>,
        _draw: u32,
    ) -> usize {
        self.0.next(&table.0)
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

/// A clone has a turn of its own: it begins at the same index if that was set, and at random otherwise.
impl Clone for RoundRobin {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A counter of turns, which counts exactly across threads and never overflows.
#[derive(Debug)]
pub(crate) struct Counter {
    turn: AtomicU64,
    /// `None` for a random start.
    start: Option<u32>,
}

impl Counter {
    /// The number of turns after which the counter is set back. Half of the range of 32 bits is left for turns that are taken until one
    /// thread has done so.
    const LIMIT: u64 = 1 << 31;

    pub(crate) fn random() -> Self {
        Self {
            turn: AtomicU64::new(fastrand::u64(..Self::LIMIT)),
            start: None,
        }
    }

    pub(crate) fn starting_at(index: u32) -> Self {
        Self {
            turn: AtomicU64::new(u64::from(index) % Self::LIMIT),
            start: Some(index),
        }
    }

    /// Makes a counter so many turns before it is set back.
    #[cfg(test)]
    pub(crate) fn before_limit(turns: u64) -> Self {
        Self {
            turn: AtomicU64::new(Self::LIMIT - turns),
            start: None,
        }
    }

    /// Returns the next turn modulo a count.
    #[inline(always)]
    pub(crate) fn next(&self, count: &Modulus) -> usize {
        // Relaxed: only the number matters.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if turn == Self::LIMIT {
            // A multiple of the count, so that the turns go on where they are. One thread sees this turn.
            let back = Self::LIMIT - Self::LIMIT % count.count.max(1);
            self.turn.fetch_sub(back, Ordering::Relaxed);
        }
        count.of(turn as u32)
    }
}

/// A count, and its reciprocal for a remainder without a division (D. Lemire, O. Kaser, N. Kurz: Faster remainder by direct
/// computation, 2019).
#[derive(Debug)]
pub(crate) struct Modulus {
    count: u64,
    reciprocal: u64,
}

impl Modulus {
    /// Makes the modulus of a count below 2^32. The remainder by 0 is 0.
    pub(crate) fn new(count: usize) -> Self {
        let count = count as u64;
        Self {
            count,
            reciprocal: (u64::MAX / count.max(1)).wrapping_add(1),
        }
    }

    /// Returns the remainder of a number.
    #[inline(always)]
    pub(crate) fn of(&self, number: u32) -> usize {
        let fraction = self.reciprocal.wrapping_mul(number.into());
        ((u128::from(fraction) * u128::from(self.count)) >> 64) as usize
    }
}

impl Clone for Counter {
    fn clone(&self) -> Self {
        self.start.map_or_else(Self::random, Self::starting_at)
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    /// LB-07
    #[test]
    fn the_turns_go_on_where_the_counter_is_set_back() {
        for count in [1, 3, 7, 10_000] {
            let counter = Counter::before_limit(5);
            let modulus = Modulus::new(count);
            let turns: Vec<_> = (0..20).map(|_| counter.next(&modulus)).collect();
            for pair in turns.windows(2) {
                assert_eq!(pair[1], (pair[0] + 1) % count);
            }
            assert!(counter.turn.load(Ordering::Relaxed) < 20 + count as u64);
        }
    }

    /// LB-07
    #[test]
    fn the_largest_number_is_followed_by_zero() {
        let counter = Counter::starting_at(u32::MAX);
        assert_eq!(counter.next(&Modulus::new(10)), ((1 << 31) - 1) % 10);
        counter.turn.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(counter.next(&Modulus::new(10)), (u32::MAX % 10) as usize);
        assert_eq!(counter.next(&Modulus::new(10)), 0);
    }

    #[test]
    fn remainders_are_exact() {
        for count in [
            1,
            2,
            3,
            7,
            10,
            1_000,
            9_973,
            10_000,
            65_536,
            u32::MAX as usize,
        ] {
            let modulus = Modulus::new(count);
            for number in [
                0,
                1,
                2,
                9,
                10,
                999,
                65_535,
                65_536,
                1 << 31,
                u32::MAX - 1,
                u32::MAX,
            ] {
                assert_eq!(modulus.of(number), number as usize % count);
            }
            for _ in 0..1_000 {
                let number = fastrand::u32(..);
                assert_eq!(modulus.of(number), number as usize % count);
            }
        }
        assert_eq!(Modulus::new(0).of(7), 0);
    }

    #[test]
    fn a_clone_of_a_random_start_starts_elsewhere() {
        let counter = Counter::random();
        let starts: std::collections::HashSet<_> = (0..8)
            .map(|_| counter.clone().turn.load(Ordering::Relaxed))
            .collect();
        assert!(starts.len() > 1);
        let counter = Counter::starting_at(3);
        counter.next(&Modulus::new(5));
        assert_eq!(counter.clone().next(&Modulus::new(5)), 3);
    }
}
