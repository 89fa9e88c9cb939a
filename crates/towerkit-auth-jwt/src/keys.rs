use std::{sync::Arc, time::Duration};

use towerkit_core::ConfigError;

use crate::{Jwks, Key, jwks::Loaded, key_set::KeySet, load_schedule::Reason, loader::Waiter};

/// The keys that verify tokens: [`Key`]s of the program, or [`Jwks`].
#[derive(Debug, Clone)]
pub struct Keys(Source);

#[derive(Debug, Clone)]
enum Source {
    Fixed(Arc<Loaded>),
    Jwks(Jwks),
}

/// The keys at one moment.
pub(crate) struct Snapshot(Arc<Loaded>);

impl Keys {
    /// Takes several keys.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if there is no key, or if two keys of one algorithm have the same id or lack an id.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, ConfigError> {
        let keys: Vec<_> = keys.into_iter().collect();
        let error = |keys: &[Key]| {
            let ids: Vec<_> = keys.iter().map(Key::key_id).collect();
            let expected = "at least one key, and different ids for keys of one algorithm";
            ConfigError::new("keys", ids, expected)
        };
        if keys.is_empty() {
            return Err(error(&keys));
        }
        let set = KeySet::new(keys.clone()).map_err(|_| error(&keys))?;
        Ok(Self::fixed(set))
    }

    fn fixed(keys: KeySet) -> Self {
        Self(Source::Fixed(Arc::new(Loaded {
            keys,
            generation: 1,
        })))
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.0 {
            Source::Fixed(_) => None,
            Source::Jwks(keys) => keys.issuer(),
        }
    }

    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        match &self.0 {
            Source::Fixed(keys) => keys.generation,
            Source::Jwks(keys) => keys.generation(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(match &self.0 {
            Source::Fixed(keys) => Arc::clone(keys),
            Source::Jwks(keys) => keys.loaded(),
        })
    }

    pub(crate) fn start(&self, reason: Reason) -> Option<Waiter> {
        match &self.0 {
            Source::Fixed(_) => None,
            Source::Jwks(keys) => keys.start(reason),
        }
    }

    pub(crate) fn retry_after(&self) -> Duration {
        match &self.0 {
            Source::Fixed(_) => Duration::ZERO,
            Source::Jwks(keys) => keys.retry_after(),
        }
    }
}

impl Snapshot {
    pub(crate) fn keys(&self) -> &KeySet {
        &self.0.keys
    }

    /// Returns 0 if no keys were loaded yet.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        let keys = KeySet::new(vec![key]);
        Self::fixed(keys.expect("one key has the id of no other"))
    }
}

impl From<Jwks> for Keys {
    fn from(keys: Jwks) -> Self {
        Self(Source::Jwks(keys))
    }
}
