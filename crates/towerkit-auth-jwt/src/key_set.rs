use std::fmt;

use serde_json::Value;

use crate::{
    Algorithm, Key, TokenError,
    jwk::{self, Unusable},
    strict_json,
};

/// The largest document, in bytes.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;

/// The most keys in a document.
const MAX_KEYS: usize = 100;

/// The keys at one moment.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// The algorithms that tokens may have.
    algorithms: Vec<Algorithm>,
}

/// The keys of a document, and the number of those that were skipped.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) keys: KeySet,
    /// The skipped keys: the number, and the reason of the first.
    pub(crate) skipped: Option<(usize, Unusable)>,
}

/// The fault of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentError {
    TooLarge,
    TooManyKeys,
    Malformed,
    NoUsableKey(Option<Unusable>),
}

impl KeySet {
    /// Makes a set of keys of a program's own. Two keys of one algorithm need different ids.
    pub(crate) fn new(keys: Vec<Key>) -> Result<Self, Unusable> {
        let mut set = Self::default();
        for key in keys {
            set.add(key)?;
        }
        set.algorithms = set.keys.iter().map(Key::algorithm).collect();
        Ok(set)
    }

    /// Reads a JWK Set ([RFC 7517, section 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
    ///
    /// Keys that are of no use are skipped: of another algorithm, for encryption, private, or malformed.
    pub(crate) fn parse(json: &[u8], algorithms: &[Algorithm]) -> Result<Document, DocumentError> {
        if json.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge);
        }
        let document = strict_json::object(json).map_err(|_| DocumentError::Malformed)?;
        let Some(Value::Array(found)) = document.get("keys") else {
            return Err(DocumentError::Malformed);
        };
        if found.len() > MAX_KEYS {
            return Err(DocumentError::TooManyKeys);
        }
        let mut keys = Self {
            keys: Vec::new(),
            algorithms: algorithms.to_vec(),
        };
        let mut skipped: Option<(usize, Unusable)> = None;
        for value in found {
            let key = value.as_object().ok_or(Unusable::NotAnObject);
            let key = key.and_then(|key| jwk::public(key, algorithms));
            if let Err(reason) = key.and_then(|key| keys.add(key)) {
                let (count, first) = skipped.unwrap_or((0, reason));
                skipped = Some((count + 1, first));
            }
        }
        if keys.keys.is_empty() {
            return Err(DocumentError::NoUsableKey(skipped.map(|(_, first)| first)));
        }
        Ok(Document { keys, skipped })
    }

    fn add(&mut self, key: Key) -> Result<(), Unusable> {
        let same =
            |other: &Key| other.algorithm() == key.algorithm() && other.key_id() == key.key_id();
        if self.keys.iter().any(same) {
            return Err(Unusable::SameId);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Finds the key of a token.
    pub(crate) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&Key, TokenError> {
        if !self.algorithms.contains(&algorithm) {
            return Err(TokenError::UnexpectedAlgorithm);
        }
        let mut named = self
            .keys
            .iter()
            .filter(|key| id.is_some() && key.key_id() == id);
        if let Some(first) = named.next() {
            let mut named = std::iter::once(first).chain(named);
            let key = named.find(|key| key.algorithm() == algorithm);
            return key.ok_or(TokenError::UnexpectedAlgorithm);
        }
        // Without an id on either side there must be no choice.
        let mut fitting = self.keys.iter().filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) if id.is_none() || key.key_id().is_none() => Ok(key),
            _ => Err(TokenError::UnknownKey),
        }
    }

    /// Returns true if all keys of this set are also in the other one, and vice versa.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let has_all = |one: &Self, two: &Self| {
            let mut keys = one.keys.iter();
            keys.all(|key| two.keys.iter().any(|other| other.is_same(key)))
        };
        has_all(self, other) && has_all(other, self)
    }
}

/// The counts of keys, for the event that they have changed.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} usable keys", self.keys.keys.len())?;
        match self.skipped {
            None => Ok(()),
            Some((count, reason)) => {
                write!(f, ", {count} skipped: the first is {}", reason.as_str())
            }
        }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the key set has more than {MAX_DOCUMENT} bytes"),
            Self::TooManyKeys => write!(f, "the key set has more than {MAX_KEYS} keys"),
            Self::Malformed => f.write_str("not a key set"),
            Self::NoUsableKey(None) => f.write_str("the key set is empty"),
            Self::NoUsableKey(Some(reason)) => {
                write!(
                    f,
                    "the key set has no usable key: the first is {}",
                    reason.as_str()
                )
            }
        }
    }
}

impl std::error::Error for DocumentError {}
