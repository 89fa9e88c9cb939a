use std::{error::Error, fmt, sync::Arc};

use ring::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{EcdsaKeyPair, Ed25519KeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::Serialize;
use towerkit_core::ConfigError;

use crate::{Algorithm, Key, algorithm::Primitive, base64_url};

/// A key that signs tokens.
///
/// ```
/// use serde_json::json;
/// use towerkit_auth_jwt::{Algorithm, Jwt, Key, SigningKey};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let secret = b"a secret of 32 bytes, or longer.";
/// let key = SigningKey::secret(Algorithm::Hs256, secret)?.id("2026-11");
/// let token = key.sign(&json!({ "sub": "ann", "exp": 4_000_000_000_u64 }))?;
///
/// let jwt = Jwt::new(Key::secret(Algorithm::Hs256, secret)?);
/// assert_eq!(jwt.verify(&token).await?.subject(), "ann");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    id: Option<Box<str>>,
    token_type: Box<str>,
    material: Arc<Material>,
}

enum Material {
    Secret(hmac::Key),
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A token could not be signed.
#[derive(Debug)]
pub struct SignError(Option<serde_json::Error>);

/// The order of the members is that of go-kit's tokens.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    typ: &'a str,
}

impl SigningKey {
    /// Makes a key of a secret, for HMAC.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] as [`Key::secret`] does.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Key::secret(algorithm, secret)?;
        Self::short_secret(algorithm, secret)
    }

    /// Makes a key of a secret that may be shorter than the standard demands; see [`Key::short_secret`].
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] as [`Key::short_secret`] does.
    pub fn short_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Key::short_secret(algorithm, secret)?;
        let Primitive::Hmac(hmac) = algorithm.primitive() else {
            unreachable!("a secret is for an HMAC only");
        };
        let material = Material::Secret(hmac::Key::new(hmac, secret));
        Ok(Self::new(algorithm, material))
    }

    /// Reads a private key from PEM: PKCS #8, `-----BEGIN PRIVATE KEY-----`.
    ///
    /// `openssl pkcs8 -topk8 -nocrypt` converts other forms.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the text has no private key, or not one for this algorithm. The error does not show the key.
    pub fn pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        let error = |cause: &str| {
            let expected =
                format!("the PEM of a private key (`PRIVATE KEY`) for {algorithm}{cause}");
            ConfigError::new("signing key", "..", expected)
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| error(""))?;
        let der = der.secret_pkcs8_der();
        let material = match algorithm.primitive() {
            Primitive::Hmac(_) => return Err(error(": an HMAC has a secret")),
            Primitive::Rsa { .. } => rsa::KeyPair::from_pkcs8(der).map(Material::Rsa),
            Primitive::Ecdsa { sign, .. } => {
                EcdsaKeyPair::from_pkcs8(sign, der, &SystemRandom::new()).map(Material::Ecdsa)
            }
            Primitive::Ed25519 => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Material::Ed25519)
            }
        };
        let material = material.map_err(|cause| error(&format!(": {cause}")))?;
        Ok(Self::new(algorithm, material))
    }

    /// Sets the id of the key, which tokens have in their header `kid`.
    #[must_use]
    pub fn id(mut self, id: impl Into<Box<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the type of the tokens in their header `typ`, such as `at+jwt`; `JWT` by default.
    #[must_use]
    pub fn token_type(mut self, token_type: impl Into<Box<str>>) -> Self {
        self.token_type = token_type.into();
        self
    }

    /// Signs claims, a JSON object, as they are: without checks and without additions.
    ///
    /// # Errors
    ///
    /// Returns an error if the claims cannot be written as JSON, or if the system has no random numbers for the signature.
    pub fn sign<T: Serialize + ?Sized>(&self, claims: &T) -> Result<String, SignError> {
        let header = Header {
            alg: self.algorithm.as_str(),
            kid: self.id.as_deref(),
            typ: &self.token_type,
        };
        let json = |cause| SignError(Some(cause));
        let mut token = base64_url::encode(serde_json::to_vec(&header).map_err(json)?);
        token.push('.');
        token += &base64_url::encode(serde_json::to_vec(claims).map_err(json)?);
        let signature = self
            .signature(token.as_bytes())
            .map_err(|_| SignError(None))?;
        token.push('.');
        token += &signature;
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<String, ring::error::Unspecified> {
        let random = SystemRandom::new();
        Ok(match (&*self.material, self.algorithm.primitive()) {
            (Material::Secret(key), _) => base64_url::encode(hmac::sign(key, message)),
            (Material::Ecdsa(key), _) => base64_url::encode(key.sign(&random, message)?),
            (Material::Ed25519(key), _) => base64_url::encode(key.sign(message)),
            (Material::Rsa(key), Primitive::Rsa { sign, .. }) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(sign, &random, message, &mut signature)?;
                base64_url::encode(signature)
            }
            (Material::Rsa(_), _) => return Err(ring::error::Unspecified),
        })
    }

    fn new(algorithm: Algorithm, material: Material) -> Self {
        Self {
            algorithm,
            id: None,
            token_type: "JWT".into(),
            material: Arc::new(material),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Some(_) => "the claims are no JSON",
            None => "the token could not be signed",
        })
    }
}

impl Error for SignError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref()?)
    }
}
