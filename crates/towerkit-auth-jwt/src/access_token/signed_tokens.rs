use std::{
    fmt,
    future::ready,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use towerkit_core::{BoxError, ConfigError};

use crate::{IssuedToken, SigningKey, TokenSource, base64_url};

/// Signs its tokens itself, with claims that do not change.
///
/// Each token has `iat`, `exp` and a random `jti` as well.
///
/// ```
/// use std::time::Duration;
/// use towerkit_auth_jwt::{AccessTokenLayer, Algorithm, SignedTokens, SigningKey};
///
/// let key = SigningKey::secret(Algorithm::Hs256, b"a secret of 32 bytes, or longer.")?;
/// let source = SignedTokens::new(key, Duration::from_secs(300))?.claim("sub", "billing").claim("aud", "orders");
/// let layer = AccessTokenLayer::new(source);
/// # let _ = layer;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SignedTokens {
    key: SigningKey,
    lifetime: Duration,
    claims: Map<String, Value>,
    clock: Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>,
}

impl SignedTokens {
    /// Signs tokens that are valid for `lifetime`, in whole seconds.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the lifetime is shorter than a second or longer than a day.
    pub fn new(key: SigningKey, lifetime: Duration) -> Result<Self, ConfigError> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        if !(second..=day).contains(&lifetime) {
            return Err(ConfigError::new(
                "lifetime",
                lifetime,
                "a time from 1 s to 24 h",
            ));
        }
        Ok(Self {
            key,
            lifetime: Duration::from_secs(lifetime.as_secs()),
            claims: Map::new(),
            clock: None,
        })
    }

    /// Adds a claim.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Reads the time from a function; [`SystemTime::now`] by default.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(now));
        self
    }

    fn sign(&self) -> Result<IssuedToken, BoxError> {
        let now = self
            .clock
            .as_ref()
            .map_or_else(SystemTime::now, |clock| clock());
        let now = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let mut id = [0; 16];
        let random = SystemRandom::new().fill(&mut id);
        random.map_err(|_| "the system has no random numbers")?;
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + self.lifetime.as_secs()).into());
        claims.insert("jti".to_owned(), base64_url::encode(id).into());
        let token = self.key.sign(&claims)?;
        let token = IssuedToken::new(&token, self.lifetime);
        Ok(token.expect("a signed token has the characters of one"))
    }
}

impl TokenSource for SignedTokens {
    fn issue(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, BoxError>> + Send>> {
        Box::pin(ready(self.sign()))
    }
}

impl fmt::Debug for SignedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTokens")
            .field("key", &self.key)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
