use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A key and its hash, which is computed once, outside of all locks.
#[derive(Debug)]
pub(crate) struct HashedKey<K> {
    pub(crate) hash: u64,
    pub(crate) key: K,
}

impl<K: PartialEq> PartialEq for HashedKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }
}

impl<K: Eq> Eq for HashedKey<K> {}

impl<K> Hash for HashedKey<K> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

/// Uses the hash of a [`HashedKey`] unchanged.
pub(crate) type PassThrough = BuildHasherDefault<PassThroughHasher>;

/// The hasher of [`PassThrough`].
#[derive(Debug, Default)]
pub(crate) struct PassThroughHasher(u64);

impl Hasher for PassThroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a hashed key writes only its hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
