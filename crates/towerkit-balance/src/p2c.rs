use std::hint::select_unpredictable;

use towerkit_core::Call;
use towerkit_discovery::Instance;

use crate::{
    BuildTable, Candidates, Picker,
    alias_table::{AliasTable, below},
};

/// Draws two instances at random and chooses the one with fewer calls in flight.
///
/// The *power of two choices* (M. Mitzenmacher, 2001) keeps the load nearly as even as a comparison of all instances would, at the
/// same cost for any number of them. A call is in flight to the end of its response body. A failed call weighs on for a while, so that
/// an instance that fails at once does not attract calls.
///
/// With weights, both instances are drawn in proportion to them, and the calls in flight are divided by them. Shares are then exact
/// while the instances are idle; under load they follow the load.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct P2c;

/// The table of [`P2c`] and [`PeakEwma`](crate::PeakEwma).
#[derive(Debug)]
pub struct P2cTable(Option<Weighted>);

#[derive(Debug)]
struct Weighted {
    alias: AliasTable,
    reciprocals: Box<[f32]>,
}

impl P2c {
    /// Makes the picker.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl BuildTable for P2c {
    type Table = P2cTable;

    fn build_table(&self, instances: &[Instance]) -> P2cTable {
        P2cTable::new(instances)
    }
}

impl<Req> Picker<Req> for P2c {
    #[inline(always)]
    fn pick(
        &self,
        table: &P2cTable,
        candidates: &impl Candidates,
        _call: &Call<'_, Req>,
        _draw: u32,
    ) -> usize {
        match &table.0 {
            None => choose_of_two(candidates.count(), |index, other| {
                candidates.is_less_loaded(index, other)
            }),
            Some(weighted) => weighted.choose(|index, reciprocal| {
                let load = candidates.load(index);
                (load * reciprocal, (load + 0.5) * reciprocal)
            }),
        }
    }
}

impl P2cTable {
    pub(crate) fn new(instances: &[Instance]) -> Self {
        let weights: Vec<_> = instances.iter().map(|instance| instance.weight).collect();
        Self(AliasTable::new(&weights).map(|alias| Weighted {
            alias,
            reciprocals: weights.iter().map(|weight| 1.0 / *weight as f32).collect(),
        }))
    }

    /// Draws two indexes and returns the one with the lower cost; see [`Weighted::choose`].
    #[inline(always)]
    pub(crate) fn choose(&self, count: usize, cost: impl Fn(usize, f32) -> (f32, f32)) -> usize {
        match &self.0 {
            None => choose_of_two(count, |index, other| {
                cost(index, 1.0).0 < cost(other, 1.0).0
            }),
            Some(weighted) => weighted.choose(cost),
        }
    }
}

impl Weighted {
    /// Draws two indexes by weight and returns the one with the lower cost.
    ///
    /// `cost` gets an index and the reciprocal of its weight, and returns the cost with the present load and with half a call more. Both
    /// must be lower for the second index: indexes of different weights keep the shares of their draws while both are idle, and
    /// their loads are in proportion to their weights otherwise.
    #[inline(always)]
    fn choose(&self, cost: impl Fn(usize, f32) -> (f32, f32)) -> usize {
        let cost = |index: usize| cost(index, self.reciprocals[index]);
        let first = self.alias.draw(fastrand::u64(..));
        let second = self.alias.draw(fastrand::u64(..));
        let (first_cost, second_cost) = (cost(first), cost(second));
        let is_lower = second_cost.0 < first_cost.0 && second_cost.1 < first_cost.1;
        select_unpredictable(is_lower, second, first)
    }
}

/// Draws two indexes and returns the second if it is less than the first.
#[inline(always)]
fn choose_of_two(count: usize, is_less: impl Fn(usize, usize) -> bool) -> usize {
    if count < 2 {
        return 0;
    }
    let (first, second) = two_below(fastrand::u64(..), count);
    select_unpredictable(is_less(second, first), second, first)
}

/// Returns two different numbers below `count`, which is at least 2, by 64 random bits.
#[inline(always)]
fn two_below(bits: u64, count: usize) -> (usize, usize) {
    let first = below(bits, count);
    let second = below(bits << 32, count - 1);
    (first, second + usize::from(second >= first))
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;
    use towerkit_core::Plain;

    use super::*;

    struct Loads(Vec<f32>);

    impl Candidates for Loads {
        fn count(&self) -> usize {
            self.0.len()
        }
        fn load(&self, index: usize) -> f32 {
            self.0[index]
        }
        fn latency(&self, _index: usize) -> Option<f32> {
            None
        }
    }

    proptest! {
        /// LB-09
        #[test]
        fn any_weights_and_any_loads_give_a_choice(
            weights in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(100), Just(u32::MAX)], 1..20),
            loads in prop::collection::vec(prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(-1.0), any::<f32>()], 20),
        ) {
            let instances: Vec<_> = (0..weights.len() as u16)
                .map(|port| Instance::from(std::net::SocketAddr::from(([10, 0, 0, 1], port))).weight(weights[port as usize]))
                .collect();
            let table = P2c.build_table(&instances);
            let candidates = Loads(loads[..weights.len()].to_vec());
            let protocol = Plain::new("test");
            for _ in 0..50 {
                let index = P2c.pick(&table, &candidates, &Call::new(&mut (), &protocol), 0);
                prop_assert!(weights[index] > 0 || weights.iter().all(|weight| *weight == 0));
            }
        }

        #[test]
        fn two_numbers_differ(bits in any::<u64>(), count in 2..10_000usize) {
            let (first, second) = two_below(bits, count);
            prop_assert!(first != second && first < count && second < count);
        }
    }

    #[test]
    fn all_pairs_are_drawn_alike() {
        let mut counts = [[0_i32; 4]; 4];
        for _ in 0..120_000 {
            let (first, second) = two_below(fastrand::u64(..), 4);
            counts[first][second] += 1;
        }
        for (first, row) in counts.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                let expected: i32 = if first == second { 0 } else { 10_000 };
                assert!((expected - count).abs() < 600, "{counts:?}");
            }
        }
    }
}
