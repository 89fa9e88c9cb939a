use std::hash::{Hash, Hasher};

use towerkit_core::ConfigError;

/// The capacity of a cache, in entries or in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    most: u64,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Entries,
    Bytes,
}

impl Capacity {
    /// Limits the number of responses, from 1 to 2³².
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the number is out of range.
    pub fn entries(most: u64) -> Result<Self, ConfigError> {
        Ok(Self {
            most: ConfigError::check_range("entries", most, 1..=1 << 32)?,
            unit: Unit::Entries,
        })
    }

    /// Limits the bytes of keys, responses and bookkeeping, from 1 to 2⁴⁰.
    ///
    /// Over HTTP the size of a response is that of its head, body and trailers. Over a plain service it is the size of the response type,
    /// without memory behind pointers, so [`entries`](Self::entries) is the better choice there.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the number is out of range.
    pub fn bytes(most: u64) -> Result<Self, ConfigError> {
        Ok(Self {
            most: ConfigError::check_range("bytes", most, 1..=1 << 40)?,
            unit: Unit::Bytes,
        })
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Returns the weight of a response with its key; [`None`] if it exceeds the whole capacity.
    pub(crate) fn weigh<K: Hash>(&self, key: &K, bytes: usize) -> Option<u32> {
        let weight = match self.unit {
            Unit::Entries => 1,
            Unit::Bytes => bytes.saturating_add(size_of::<K>() + content(key) + BOOKKEEPING),
        };
        let weight = u32::try_from(weight).ok()?;
        (u64::from(weight) <= self.most).then_some(weight)
    }
}

/// The approximate overhead of the map per entry, in bytes.
const BOOKKEEPING: usize = 256;

/// Returns the bytes of a key, including those behind pointers: the bytes that it feeds to a hasher.
fn content<K: Hash>(key: &K) -> usize {
    #[derive(Default)]
    struct Count(usize);

    impl Hasher for Count {
        fn finish(&self) -> u64 {
            self.0 as u64
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0 = self.0.saturating_add(bytes.len());
        }
    }

    let mut count = Count::default();
    key.hash(&mut count);
    count.0
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_weighs_one_or_its_bytes_and_those_of_its_key() {
        let entries = Capacity::entries(1).unwrap();
        assert_eq!(entries.weigh(&"a".repeat(1_000), 1_000), Some(1));
        let bytes = Capacity::bytes(100_000).unwrap();
        let small = bytes.weigh(&String::new(), 0).unwrap();
        assert_eq!(bytes.weigh(&"a".repeat(1_000), 500), Some(small + 1_500));
    }

    #[test]
    fn a_response_above_the_capacity_has_no_weight() {
        let bytes = Capacity::bytes(10_000).unwrap();
        assert_eq!(bytes.weigh(&0_u8, 10_000), None);
        assert_eq!(bytes.weigh(&"a".repeat(10_000), 0), None);
        let most = Capacity::bytes(1 << 40).unwrap();
        assert_eq!(most.weigh(&0_u8, usize::MAX), None);
    }
}
