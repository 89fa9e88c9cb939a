use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU64,
    sync::OnceLock,
};

/// What one of many breakers is about: a host, a tenant, a route; anything that can be hashed.
///
/// It is the 64-bit hash of the value under a secret of the process, and nothing of the value is kept. Two values out of a million
/// have the same key, and so the same breaker, with a probability of less than 1 in 30 million, and nobody can choose them so.
///
/// ```
/// use towerkit_circuitbreaker::Key;
///
/// assert_eq!(Key::new("stock"), Key::new("stock".to_owned()));
/// assert_ne!(Key::new("stock"), Key::new(("stock", 2)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(NonZeroU64);

impl Key {
    /// Makes the key of `value`.
    #[must_use]
    pub fn new(value: impl Hash) -> Self {
        static SECRET: OnceLock<RandomState> = OnceLock::new();
        let hash = SECRET.get_or_init(RandomState::new).hash_one(value);
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0.get()
    }
}
