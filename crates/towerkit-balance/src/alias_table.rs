use std::hint::select_unpredictable;

/// Draws indexes in proportion to their weights, with one look at a table (A. J. Walker, 1977; M. D. Vose, 1991).
///
/// Equal weights need no table.
#[derive(Debug)]
pub(crate) struct AliasTable {
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The part of 2^32 that is the slot's own; all of it if it is the maximum.
    own: u32,
    /// The owner of the rest.
    other: u32,
}

const ONE: u128 = 1 << 32;

impl AliasTable {
    /// Makes a table, unless all weights are equal. A weight of 0 is never drawn if another is not 0.
    pub(crate) fn new(weights: &[u32]) -> Option<Self> {
        if weights.iter().all(|weight| Some(weight) == weights.first()) {
            return None;
        }
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let share = |weight: &u32| u128::from(*weight) * weights.len() as u128 * ONE / total;
        let mut shares: Vec<_> = weights.iter().map(share).collect();
        let mut slots: Vec<_> = (0..weights.len() as u32)
            .map(|other| Slot {
                own: u32::MAX,
                other,
            })
            .collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            (0..weights.len()).partition(|index| shares[*index] < ONE);
        // Each slot with less than its share is filled up by an index with more.
        while let (Some(index), Some(&donor)) = (small.last(), large.last()) {
            let index = *index;
            small.pop();
            slots[index] = Slot {
                own: shares[index] as u32,
                other: donor as u32,
            };
            shares[donor] -= ONE - shares[index];
            if shares[donor] < ONE {
                large.pop();
                small.push(donor);
            }
        }
        Some(Self {
            slots: slots.into(),
        })
    }

    /// Returns an index by 64 random bits.
    #[inline(always)]
    pub(crate) fn draw(&self, bits: u64) -> usize {
        let index = below(bits, self.slots.len());
        let slot = self.slots[index];
        let is_own = (bits as u32) < slot.own || slot.own == u32::MAX;
        select_unpredictable(is_own, index, slot.other as usize)
    }
}

/// Returns a number below `count` by the upper 32 of 64 random bits (D. Lemire, 2019: a multiplication in place of a division).
#[inline(always)]
pub(crate) fn below(bits: u64, count: usize) -> usize {
    (((bits >> 32) * count as u64) >> 32) as usize
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shares that the table gives, exactly.
    fn shares(table: &AliasTable) -> Vec<f64> {
        let mut shares = vec![0.0; table.slots.len()];
        for (index, slot) in table.slots.iter().enumerate() {
            let own = match slot.own {
                u32::MAX => 1.0,
                own => f64::from(own) / ONE as f64,
            };
            shares[index] += own / table.slots.len() as f64;
            shares[slot.other as usize] += (1.0 - own) / table.slots.len() as f64;
        }
        shares
    }

    proptest! {
        /// LB-09
        #[test]
        fn shares_are_those_of_the_weights(weights in prop::collection::vec(prop_oneof![Just(0), Just(u32::MAX), 0..100u32, any::<u32>()], 1..60)) {
            let Some(table) = AliasTable::new(&weights) else {
                prop_assert!(weights.iter().all(|weight| *weight == weights[0]));
                return Ok(());
            };
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (share, weight) in shares(&table).iter().zip(&weights) {
                prop_assert!((share - f64::from(*weight) / total).abs() < 1e-6);
                prop_assert!(*weight > 0 || *share == 0.0);
            }
            for bits in [0, u64::MAX, 1 << 32, u64::from(u32::MAX)] {
                prop_assert!(weights[table.draw(bits)] > 0);
            }
        }
    }

    #[test]
    fn numbers_are_below_the_count() {
        for count in [1, 2, 3, 10_000] {
            assert_eq!(below(0, count), 0);
            assert_eq!(below(u64::MAX, count), count - 1);
        }
    }
}
