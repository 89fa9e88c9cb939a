use serde_json::{Map, Value};
use towerkit_core::ConfigError;

use crate::{Algorithm, Key, base64_url, strict_json};

/// The members that only a private key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1; RFC 8037, section 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The longest id of a key, in bytes.
const MAX_ID: usize = 1024;

/// The reason for which a key of a document is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    NotAnObject,
    PrivateKey,
    NotForSignatures,
    OtherAlgorithm,
    AmbiguousAlgorithm,
    Malformed,
    SameId,
}

impl Unusable {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "not an object",
            Self::PrivateKey => "a private key",
            Self::NotForSignatures => "not meant for signatures",
            Self::OtherAlgorithm => "of another algorithm",
            Self::AmbiguousAlgorithm => "without `alg`, for several algorithms",
            Self::Malformed => "malformed",
            Self::SameId => "with the id of another key",
        }
    }
}

impl Key {
    /// Reads a key from a JSON Web Key ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)), with its `kid`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the text is not a key, or not one for this algorithm, if the key is not meant for signatures (`use`,
    /// `key_ops`, `alg`), or if it is a private key.
    pub fn jwk(algorithm: Algorithm, jwk: &[u8]) -> Result<Self, ConfigError> {
        let error = |reason: &str| {
            ConfigError::new(
                "key",
                "..",
                format!("a JSON Web Key for {algorithm}: {reason}"),
            )
        };
        let jwk = strict_json::object(jwk).map_err(|_| error("not an object"))?;
        let key = if algorithm.is_symmetric() {
            secret(&jwk, algorithm)
        } else {
            public(&jwk, &[algorithm])
        };
        key.map_err(|reason| error(reason.as_str()))
    }
}

/// Makes a public key for one of the algorithms.
///
/// A key with `alg` is for that algorithm only. Another key is for the one algorithm that fits it; with several RSA algorithms the key
/// is skipped, because the token would make the choice.
pub(crate) fn public(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Result<Key, Unusable> {
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return Err(Unusable::PrivateKey);
    }
    check_use(jwk)?;
    let fits = |algorithm: &Algorithm| match (text(jwk, "kty"), text(jwk, "crv")) {
        (Some("RSA"), _) => algorithm.is_rsa(),
        (Some("EC"), Some("P-256")) => *algorithm == Algorithm::Es256,
        (Some("EC"), Some("P-384")) => *algorithm == Algorithm::Es384,
        (Some("OKP"), Some("Ed25519")) => *algorithm == Algorithm::EdDsa,
        _ => false,
    };
    let named = named_algorithm(jwk)?;
    let is_named = |algorithm: &Algorithm| named.is_none_or(|named| named == *algorithm);
    let mut choice = allowed.iter().copied();
    let mut choice = choice.by_ref().filter(|one| fits(one) && is_named(one));
    let algorithm = choice.next().ok_or(Unusable::OtherAlgorithm)?;
    if choice.any(|other| other != algorithm) {
        return Err(Unusable::AmbiguousAlgorithm);
    }
    let key = if algorithm.is_rsa() {
        let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
        Key::rsa(algorithm, without_zeros(&n), without_zeros(&e))
    } else if algorithm == Algorithm::EdDsa {
        Key::point(algorithm, &bytes(jwk, "x")?)
    } else {
        let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
        // Each coordinate has the full length (RFC 7518, section 6.2.1.2).
        if x.len() != y.len() {
            return Err(Unusable::Malformed);
        }
        Key::point(algorithm, &[&[4], &*x, &*y].concat())
    };
    with_id(jwk, key.ok_or(Unusable::Malformed)?)
}

/// Makes a key for an HMAC.
pub(crate) fn secret(jwk: &Map<String, Value>, algorithm: Algorithm) -> Result<Key, Unusable> {
    check_use(jwk)?;
    let is_other = named_algorithm(jwk)?.is_some_and(|named| named != algorithm);
    if is_other || text(jwk, "kty") != Some("oct") {
        return Err(Unusable::OtherAlgorithm);
    }
    let key = Key::secret(algorithm, &bytes(jwk, "k")?).map_err(|_| Unusable::Malformed)?;
    with_id(jwk, key)
}

fn with_id(jwk: &Map<String, Value>, key: Key) -> Result<Key, Unusable> {
    match jwk.get("kid") {
        None => Ok(key),
        Some(Value::String(id)) if id.len() <= MAX_ID => Ok(key.id(id)),
        Some(_) => Err(Unusable::Malformed),
    }
}

/// Checks `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3).
fn check_use(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    let is_signature = jwk.get("use").is_none_or(|usage| usage == "sig");
    let verifies = match jwk.get("key_ops") {
        None => true,
        Some(operations) => operations
            .as_array()
            .is_some_and(|all| all.iter().any(|operation| operation == "verify")),
    };
    (is_signature && verifies)
        .then_some(())
        .ok_or(Unusable::NotForSignatures)
}

fn named_algorithm(jwk: &Map<String, Value>) -> Result<Option<Algorithm>, Unusable> {
    let Some(named) = jwk.get("alg") else {
        return Ok(None);
    };
    let named = named.as_str().and_then(Algorithm::from_name);
    named.map(Some).ok_or(Unusable::OtherAlgorithm)
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, Unusable> {
    text(jwk, member)
        .and_then(base64_url::decode)
        .ok_or(Unusable::Malformed)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
