use std::{
    fmt,
    hash::{Hash, Hasher},
};

use towerkit_core::Call;
use towerkit_discovery::Instance;
use towerkit_keyed::KeyExtractor;

use crate::{
    BuildTable, Candidates, Picker,
    alias_table::below,
    schedule::{divide, sequence},
};

/// Chooses the instance by a key of the call, so that calls with one key go to one instance.
///
/// For caches and sessions. [Maglev hashing](https://research.google/pubs/maglev-a-fast-and-reliable-software-network-load-balancer/)
/// gives each instance its share of the keys by weight, exact to one of 65,537 places. If an instance is added or removed, nearly all
/// other keys stay at their instances. Processes with the same instances choose alike.
///
/// The key is that of a [`KeyExtractor`]: [`ByHeader`](crate::ByHeader), [`ByCookie`](crate::ByCookie), or a function. A call without
/// a key goes to a random instance. A key whose instance is ejected or not ready goes to another one meanwhile, the same for each call.
///
/// Keys are distributed by a fast hash that is not secret: a caller that chooses its keys can send all its calls to one instance, as it
/// could with a single key.
#[derive(Clone, Copy)]
pub struct Maglev<K> {
    key: K,
}

/// The table of [`Maglev`].
#[derive(Debug)]
pub struct MaglevTable(Box<[u16]>);

/// A prime number, so that each permutation visits every place. The second size of the Maglev paper is 655,373; with this one the table
/// of 10,000 instances, the most that a discovery has, still has six places for each.
const PLACES: usize = 65_537;

impl<K> Maglev<K> {
    /// Makes a picker with this key.
    #[must_use]
    pub const fn new(key: K) -> Self {
        Self { key }
    }
}

impl<K: Clone + Send + Sync + 'static> BuildTable for Maglev<K> {
    type Table = MaglevTable;

    fn build_table(&self, instances: &[Instance]) -> MaglevTable {
        MaglevTable::new(instances)
    }
}

impl<K, Req> Picker<Req> for Maglev<K>
where
    K: KeyExtractor<Req> + Clone + Send + Sync + 'static,
{
    #[inline(always)]
    fn pick(
        &self,
        table: &MaglevTable,
        _candidates: &impl Candidates,
        call: &Call<'_, Req>,
        draw: u32,
    ) -> usize {
        let hash = self.key.with_key(call, |key| match key {
            Some(key) => hash(key, draw.into()),
            None => fastrand::u64(..),
        });
        usize::from(table.0[below(hash, table.0.len())])
    }
}

impl<K> fmt::Debug for Maglev<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maglev").finish_non_exhaustive()
    }
}

impl MaglevTable {
    fn new(instances: &[Instance]) -> Self {
        const FREE: u16 = u16::MAX;
        // Discovery limits a set to 10,000 instances; those beyond the range of the table would get no calls.
        let instances = &instances[..instances.len().min(FREE as usize)];
        let weights: Vec<_> = instances.iter().map(|instance| instance.weight).collect();
        if weights.is_empty() {
            return Self(Box::default());
        }
        // The permutation of each instance: its next place, and the step to the one after it.
        let mut permutations: Vec<_> = instances
            .iter()
            .map(|instance| {
                let address = instance.address.to_string();
                let place = hash(&*address, 1) as usize % PLACES;
                let step = hash(&*address, 2) as usize % (PLACES - 1) + 1;
                (place, step)
            })
            .collect();
        let mut table = vec![FREE; PLACES];
        for index in sequence(&divide(&weights, PLACES)) {
            let (place, step) = &mut permutations[index];
            while table[*place] != FREE {
                *place = (*place + *step) % PLACES;
            }
            table[*place] = index as u16;
        }
        Self(table.into())
    }
}

/// Hashes a key, the same in all processes of one build.
#[inline(always)]
fn hash<K: Hash + ?Sized>(key: &K, seed: u64) -> u64 {
    let mut hasher = KeyHasher(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2d35_8dcc_aa6c_78a5);
    key.hash(&mut hasher);
    hasher.finish()
}

/// A hasher that folds the product of 64-bit words, as [wyhash](https://github.com/wangyi-fudan/wyhash) does.
struct KeyHasher(u64);

impl KeyHasher {
    #[inline(always)]
    fn add(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, 0xa076_1d64_78bd_642f).wrapping_add(word.rotate_left(32));
    }
}

impl Hasher for KeyHasher {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut array = [0; 8];
            array.copy_from_slice(word);
            self.add(u64::from_le_bytes(array));
        }
        let mut rest = [0; 8];
        rest[..words.remainder().len()].copy_from_slice(words.remainder());
        self.add(u64::from_le_bytes(rest) ^ (bytes.len() as u64) << 56);
    }

    #[inline(always)]
    fn write_u8(&mut self, byte: u8) {
        self.add(byte.into());
    }

    #[inline(always)]
    fn write_u32(&mut self, word: u32) {
        self.add(word.into());
    }

    #[inline(always)]
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    #[inline(always)]
    fn finish(&self) -> u64 {
        // The finalizer of splitmix64, so that keys that are counted up are spread.
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn instance(port: u16) -> Instance {
        Instance::from(SocketAddr::from(([10, 0, 0, 1], port)))
    }

    fn counts(table: &MaglevTable, count: usize) -> Vec<usize> {
        let mut counts = vec![0; count];
        for index in &table.0 {
            counts[usize::from(*index)] += 1;
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        /// LB-09
        #[test]
        fn shares_of_the_places_are_exact(weights in prop::collection::vec(prop_oneof![Just(0), Just(u32::MAX), 1..100u32], 1..40)) {
            let instances: Vec<_> = (0..).zip(&weights).map(|(port, weight)| instance(port).weight(*weight)).collect();
            let counts = counts(&MaglevTable::new(&instances), weights.len());
            let parts: Vec<_> = divide(&weights, PLACES).into_iter().map(|part| part as usize).collect();
            prop_assert_eq!(counts, parts);
        }
    }

    #[test]
    fn equal_instances_have_equal_shares_to_a_place() {
        for count in [1, 2, 10, 1_000, 10_000] {
            let instances: Vec<_> = (0..count).map(instance).collect();
            let counts = counts(&MaglevTable::new(&instances), count.into());
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn the_places_of_other_instances_stay_if_one_is_removed() {
        let instances: Vec<_> = (0..10).map(instance).collect();
        let before = MaglevTable::new(&instances);
        let after = MaglevTable::new(&instances[1..]);
        let moved = before
            .0
            .iter()
            .zip(&after.0)
            .filter(|(before, after)| **before != 0 && **before != **after + 1)
            .count();
        assert!(moved < PLACES * 2 / 100, "{moved} places moved");
    }

    #[test]
    fn keys_are_spread() {
        fn is_spread<K: Hash>(keys: impl Iterator<Item = K>) {
            let mut counts = [0; 100];
            for key in keys.take(100_000) {
                counts[below(hash(&key, 0), 100)] += 1;
            }
            // Chi-squared with 99 degrees of freedom: 170 has a probability of 10^-5.
            let chi_squared: f64 = counts
                .iter()
                .map(|count| f64::from(count - 1_000).powi(2) / 1_000.0)
                .sum();
            assert!(chi_squared < 170.0, "{chi_squared}");
        }
        is_spread(0u64..);
        is_spread(0u32..);
        is_spread((0u64..).map(|n| n << 40));
        is_spread((0..).map(|n| format!("user-{n}")));
        is_spread((0..).map(|n| format!("{n:032x}")));
    }

    /// Other builds and other processes choose alike.
    #[test]
    fn the_hash_of_a_key_is_fixed() {
        assert_eq!(hash("session", 0), hash(&String::from("session"), 0));
        assert_ne!(hash("session", 0), hash("session", 1));
        assert_ne!(hash("a\0", 0), hash("a", 0));
    }
}
