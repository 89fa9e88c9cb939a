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
    type Table = ();

    fn build_table(&self, _instances: &[Instance]) {}
}

impl<Req> Picker<Req> for RoundRobin {
    #[inline(always)]
    fn pick(
        &self,
        (): &(),
        candidates: &impl Candidates,
        _call: &Call<'_, Req>,
        _draw: u32,
    ) -> usize {
        self.0.next(candidates.count())
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
    /// The number of turns after which the counter is set back. Half of the range is left for threads that have not seen it yet.
    const LIMIT: u64 = 1 << 63;

    pub(crate) fn random() -> Self {
        Self {
            turn: AtomicU64::new(fastrand::u32(..).into()),
            start: None,
        }
    }

    pub(crate) fn starting_at(index: u32) -> Self {
        Self {
            turn: AtomicU64::new(index.into()),
            start: Some(index),
        }
    }

    /// Returns the next turn modulo `count`.
    #[inline(always)]
    pub(crate) fn next(&self, count: usize) -> usize {
        let count = count as u64;
        // Relaxed: only the number matters.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if turn == Self::LIMIT {
            // A multiple of the count, so that the turns go on where they are. One thread sees this turn.
            let back = Self::LIMIT - Self::LIMIT % count;
            self.turn.fetch_sub(back, Ordering::Relaxed);
        }
        (turn % count) as usize
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
            let counter = Counter::starting_at(0);
            counter.turn.store(Counter::LIMIT - 5, Ordering::Relaxed);
            let turns: Vec<_> = (0..20).map(|_| counter.next(count)).collect();
            for pair in turns.windows(2) {
                assert_eq!(pair[1], (pair[0] + 1) % count);
            }
            assert!(counter.turn.load(Ordering::Relaxed) < 20 + count as u64);
        }
    }

    /// LB-07
    #[test]
    fn the_largest_number_is_followed_by_zero() {
        let counter = Counter::starting_at(0);
        counter.turn.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(counter.next(10), (u64::MAX % 10) as usize);
        assert_eq!(counter.next(10), 0);
    }

    #[test]
    fn a_clone_of_a_random_start_starts_elsewhere() {
        let counter = Counter::random();
        let starts: std::collections::HashSet<_> = (0..8)
            .map(|_| counter.clone().turn.load(Ordering::Relaxed))
            .collect();
        assert!(starts.len() > 1);
        let counter = Counter::starting_at(3);
        counter.next(5);
        assert_eq!(counter.clone().next(5), 3);
    }
}
