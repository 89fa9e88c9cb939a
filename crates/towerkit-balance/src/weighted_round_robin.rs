use towerkit_core::Call;
use towerkit_discovery::Instance;

use crate::{
    BuildTable, Candidates, Picker,
    round_robin::{Counter, Modulus},
    schedule::{divide, sequence},
};

/// Chooses the instances in turn, each as often as its weight says.
///
/// The turns of an instance are spread evenly (*earliest deadline first*) over a sequence of as many turns as the weights add up to,
/// after division by their greatest common divisor. A sequence has at most 65,536 turns, to which larger weights are scaled.
#[derive(Debug, Clone)]
pub struct WeightedRoundRobin(Counter);

/// The table of [`WeightedRoundRobin`]: the sequence of turns.
#[derive(Debug)]
pub struct TurnTable {
    turns: Box<[u32]>,
    length: Modulus,
}

const MAX_TURNS: u64 = 65_536;

impl WeightedRoundRobin {
    /// Makes a picker that begins at a random turn.
    #[must_use]
    pub fn new() -> Self {
        Self(Counter::random())
    }

    /// Makes a picker that begins at this turn.
    #[must_use]
    pub fn starting_at(turn: u32) -> Self {
        Self(Counter::starting_at(turn))
    }
}

impl BuildTable for WeightedRoundRobin {
    type Table = TurnTable;

    fn build_table(&self, instances: &[Instance]) -> TurnTable {
        let weights: Vec<_> = instances.iter().map(|instance| instance.weight).collect();
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        let turns: u64 = weights
            .iter()
            .map(|weight| u64::from(weight / divisor.max(1)))
            .sum();
        let parts = match turns {
            0 => vec![1; weights.len()],
            1..=MAX_TURNS => weights.iter().map(|weight| weight / divisor).collect(),
            _ => divide(&weights, MAX_TURNS as usize),
        };
        let turns: Box<[u32]> = sequence(&parts).map(|index| index as u32).collect();
        TurnTable {
            length: Modulus::new(turns.len()),
            turns,
        }
    }
}

impl<Req> Picker<Req> for WeightedRoundRobin {
    #[inline(always)]
    fn pick(
        &self,
        table: &TurnTable,
        _candidates: &impl Candidates,
        _call: &Call<'_, Req>,
        _draw: u32,
    ) -> usize {
        table.turns[self.0.next(&table.length)] as usize
    }
}

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        return a;
    }
    greatest_common_divisor(b, a % b)
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn turns(weights: &[u32]) -> Vec<u32> {
        let instances: Vec<_> = (0..)
            .zip(weights)
            .map(|(port, weight)| {
                Instance::from(SocketAddr::from(([10, 0, 0, 1], port))).weight(*weight)
            })
            .collect();
        WeightedRoundRobin::new()
            .build_table(&instances)
            .turns
            .to_vec()
    }

    /// LB-09
    #[test]
    fn the_table_is_as_long_as_the_weights_need() {
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[u32::MAX, u32::MAX]), [0, 1]);
        assert_eq!(turns(&[200, 100]), [0, 1, 0]);
        assert_eq!(turns(&[0, 0]), [0, 1]);
        assert_eq!(turns(&[0, 3]), [1]);
        let scaled = turns(&[u32::MAX, 1, u32::MAX]);
        assert_eq!(scaled.len(), 65_536);
        let count = |index| scaled.iter().filter(|turn| **turn == index).count();
        assert_eq!((count(1), count(0).abs_diff(count(2))), (1, 1));
    }
}
