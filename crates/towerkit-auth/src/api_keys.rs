use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use towerkit_core::{ConfigError, Principal, Proof};

use crate::credentials::random_bytes;

/// The API keys of the clients, as SHA-256 digests.
///
/// Each line of the text is `client:digest` or `client:digest:scopes`. The digest is that of the key in hexadecimal, as `printf %s KEY
/// | sha256sum` prints it, and the scopes are separated by spaces. Empty lines and lines that begin with `#` are skipped.
///
/// A client has at most two keys, so that it can change to a new key while the old one still works. Keys must be random, with at
/// least 128 bits: a digest does not protect a key that can be guessed. [`generate`](Self::generate) makes one.
///
/// Clones share the keys. A key is found by its digest, and compared in constant time.
#[derive(Clone)]
pub struct ApiKeys {
    table: Arc<ArcSwap<KeyDigests>>,
    path: Option<Arc<Path>>,
}

/// Sorted by digest.
struct KeyDigests(Box<[Entry]>);

struct Entry {
    digest: [u8; 32],
    principal: Principal,
}

/// The keys that a client may have at a time.
const MAX_KEYS: usize = 2;

impl ApiKeys {
    /// Reads keys from text.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] that names the line if it has another form, if a client has more than two keys, or if two lines
    /// have the same key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            table: Arc::new(ArcSwap::from_pointee(KeyDigests::parse(text)?)),
            path: None,
        })
    }

    /// Reads keys from a file, which [`reload`](Self::reload) reads again.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), and if the file cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let keys = Self::parse(&read(&path)?)?;
        Ok(Self {
            path: Some(path.into()),
            ..keys
        })
    }

    /// Reads the file again. Calls that come later are verified by the new keys.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); the old keys then stay in use. Keys from [`parse`](Self::parse) have no file, and stay as they are.
    pub fn reload(&self) -> Result<(), ConfigError> {
        if let Some(path) = &self.path {
            let table = KeyDigests::parse(&read(path)?)?;
            self.table.store(Arc::new(table));
        }
        Ok(())
    }

    /// Makes a random key of 256 bits and its digest: the key for the client, and the digest for the file.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the operating system has no random bytes.
    pub fn generate() -> Result<(String, String), ConfigError> {
        let key = hex(&random_bytes()?);
        let digest = hex(&Sha256::digest(&key));
        Ok((key, digest))
    }

    /// Returns the client with this key.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<Principal> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        self.table.load().find(&digest).cloned()
    }
}

impl KeyDigests {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut keys_of: HashMap<&str, usize> = HashMap::new();
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself is not shown: it may contain a key by mistake.
            let invalid =
                |expected| ConfigError::new("API keys", format!("line {}", at + 1), expected);
            let mut fields = line.splitn(3, ':');
            let client = fields.next().filter(|client| !client.is_empty());
            let digest = fields.next().and_then(digest);
            let (Some(client), Some(digest)) = (client, digest) else {
                return Err(invalid("client:sha256 or client:sha256:scopes"));
            };
            let keys = keys_of.entry(client).or_default();
            *keys += 1;
            if *keys > MAX_KEYS {
                return Err(invalid("at most two keys for each client"));
            }
            let scopes = fields.next().unwrap_or_default().split_ascii_whitespace();
            let principal = Principal::new(client, Proof::ApiKey).with_scopes(scopes);
            entries.push((at, Entry { digest, principal }));
        }
        entries.sort_by_key(|(_, entry)| entry.digest);
        if let Some(pair) = entries
            .windows(2)
            .find(|pair| pair[0].1.digest == pair[1].1.digest)
        {
            let line = format!("line {}", pair[0].0.max(pair[1].0) + 1);
            return Err(ConfigError::new(
                "API keys",
                line,
                "a key of its own for each line",
            ));
        }
        Ok(Self(entries.into_iter().map(|(_, entry)| entry).collect()))
    }

    /// The search tells at most where the digest of a guessed key is in the order of digests, which is of no use to guess a key.
    fn find(&self, digest: &[u8; 32]) -> Option<&Principal> {
        let prefix = prefix(digest);
        let first = self
            .0
            .partition_point(|entry| self::prefix(&entry.digest) < prefix);
        let mut same_prefix = self.0[first..]
            .iter()
            .take_while(|entry| self::prefix(&entry.digest) == prefix);
        let found = same_prefix.find(|entry| entry.digest.ct_eq(digest).into());
        found.map(|entry| &entry.principal)
    }
}

fn prefix(digest: &[u8; 32]) -> u64 {
    let (prefix, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*prefix)
}

/// Parses 64 hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        // Two digits are below 256.
        *byte = (value(pair[0])? * 16 + value(pair[1])?) as u8;
    }
    Some(digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let invalid = |error| ConfigError::new("API keys", path, format!("a text file ({error})"));
    fs::read_to_string(path).map_err(invalid)
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys")
            .field("keys", &self.table.load().0.len())
            .field("path", &self.path)
            .finish()
    }
}
