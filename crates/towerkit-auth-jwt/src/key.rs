use std::fmt;

use ring::{
    hmac,
    rsa::PublicKeyComponents,
    signature::{ED25519, UnparsedPublicKey, VerificationAlgorithm},
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use towerkit_core::ConfigError;

use crate::{
    Algorithm,
    algorithm::Primitive,
    der::{PublicKey, public_key},
};

/// A key that verifies tokens of one algorithm.
///
/// A token is checked with the algorithm of its key, and refused if its header names another one. So a public key is never taken for the
/// secret of an HMAC.
///
/// ```
/// use towerkit_auth_jwt::{Algorithm, Key};
///
/// let key = Key::secret(Algorithm::Hs256, b"a secret of 32 bytes, or longer.")?.id("2026-11");
/// assert!(!format!("{key:?}").contains("secret of"));
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    id: Option<Box<str>>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(hmac::Key),
    Rsa(PublicKeyComponents<Box<[u8]>>),
    Point(Box<[u8]>),
}

impl Key {
    /// Makes a key of a secret, for HMAC.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the algorithm is not an HMAC, or if the secret is shorter than the hash of the algorithm, which
    /// [RFC 7518, section 3.2] forbids. The error does not show the secret.
    ///
    /// [RFC 7518, section 3.2]: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        let key = Self::short_secret(algorithm, secret)?;
        let expected = match algorithm.primitive() {
            Primitive::Hmac(hmac) => hmac.digest_algorithm().output_len(),
            _ => 0,
        };
        if secret.len() < expected {
            let expected = format!("at least {expected} bytes for {algorithm}");
            return Err(ConfigError::new(
                "length of the secret",
                secret.len(),
                expected,
            ));
        }
        Ok(key)
    }

    /// Makes a key of a secret that may be shorter than the standard demands, for peers that cannot change theirs.
    ///
    /// A short secret can be found by trying. Use [`secret`](Self::secret) for new ones.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the algorithm is not an HMAC, or if the secret is empty.
    pub fn short_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        let Primitive::Hmac(hmac) = algorithm.primitive() else {
            let expected = "HS256, HS384 or HS512 for a secret";
            return Err(ConfigError::new("algorithm", algorithm, expected));
        };
        if secret.is_empty() {
            return Err(ConfigError::new(
                "length of the secret",
                0,
                "at least 1 byte",
            ));
        }
        let material = Material::Secret(hmac::Key::new(hmac, secret));
        Ok(Self::new(algorithm, material))
    }

    /// Reads a public key from PEM: `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the text has no public key, or not one for this algorithm, or if an RSA key has less than 2048 or
    /// more than 8192 bits.
    pub fn pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        let expected = || format!("the PEM of a public key (`PUBLIC KEY`) for {algorithm}");
        let error = || ConfigError::new("key", "..", expected());
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| error())?;
        match public_key(&spki, algorithm).ok_or_else(error)? {
            PublicKey::Rsa { n, e } => Self::rsa(algorithm, n, e),
            PublicKey::Point(point) => Self::point(algorithm, point),
        }
        .ok_or_else(error)
    }

    /// Sets the id of the key, which tokens have in their header `kid`.
    ///
    /// A key without an id verifies tokens of its algorithm with any `kid`, as long as it is the only key of its algorithm.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into().into());
        self
    }

    /// Makes an RSA key of its numbers without leading zeros; `None` if it is too small or too large.
    pub(crate) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Option<Self> {
        let bits = 8 * n.len() - n.first()?.leading_zeros() as usize;
        // The sizes that ring verifies.
        let is_usable = (2048..=8192).contains(&bits) && (1..=5).contains(&e.len()) && e[0] != 0;
        let numbers = PublicKeyComponents {
            n: n.into(),
            e: e.into(),
        };
        (is_usable && algorithm.is_rsa()).then(|| Self::new(algorithm, Material::Rsa(numbers)))
    }

    /// Makes a key of a point on the curve of the algorithm; `None` if the length is not that of one.
    pub(crate) fn point(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let length = match algorithm {
            // Uncompressed: 4, x, y.
            Algorithm::Es256 => 1 + 2 * 32,
            Algorithm::Es384 => 1 + 2 * 48,
            Algorithm::EdDsa => 32,
            _ => return None,
        };
        let is_uncompressed = algorithm == Algorithm::EdDsa || point.first() == Some(&4);
        (point.len() == length && is_uncompressed)
            .then(|| Self::new(algorithm, Material::Point(point.into())))
    }

    fn new(algorithm: Algorithm, material: Material) -> Self {
        Self {
            algorithm,
            id: None,
            material,
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns true if `signature` is that of `message` by this key.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, self.algorithm.primitive()) {
            (Material::Secret(key), _) => hmac::verify(key, message, signature).is_ok(),
            (Material::Rsa(key), Primitive::Rsa { verify, .. }) => {
                key.verify(verify, message, signature).is_ok()
            }
            (Material::Point(point), primitive) => {
                let algorithm: &'static dyn VerificationAlgorithm = match primitive {
                    Primitive::Ecdsa { verify, .. } => verify,
                    Primitive::Ed25519 => &ED25519,
                    Primitive::Hmac(_) | Primitive::Rsa { .. } => return false,
                };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(message, signature)
                    .is_ok()
            }
            (Material::Rsa(_), _) => false,
        }
    }

    /// Returns true if the two are the same key with the same id. Secrets are never the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same_material = match (&self.material, &other.material) {
            (Material::Rsa(one), Material::Rsa(two)) => one.n == two.n && one.e == two.e,
            (Material::Point(one), Material::Point(two)) => one == two,
            _ => false,
        };
        is_same_material && self.algorithm == other.algorithm && self.id == other.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
