use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use towerkit_auth::{Admission, AuthError, AuthFuture, Principal, Proof, VerifyToken};

use crate::{
    Claims, Keys, TokenError,
    compact::{self, Unverified},
    key_set::KeySet,
    keys::Snapshot,
    load_schedule::Reason,
    loader::Waiter,
    verified_tokens::{Time, VerifiedTokens},
};

/// The claim that a token must have: its subject. It is the subject of the [`Principal`].
const SUBJECT: &str = "sub";

const CACHED_TOKENS: usize = 1024;

/// Verifies JSON Web Tokens ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)).
///
/// It is a verifier for [`BearerAuth`](towerkit_auth::BearerAuth); see the [crate documentation](crate) for an example. A token is valid
/// if all of this holds:
///
/// - It has at most 8 KiB, and is three parts of base64url without padding. Header and claims are JSON objects of at most 16 levels, in
///   which no name occurs twice.
/// - Its key is one of the [`Keys`], and `alg` is the algorithm of that key. `crit` and `b64` are refused. `jku`, `x5u`, `jwk` and `x5c`
///   are not read.
/// - Its `typ` is missing, `JWT` or `at+jwt`, or as [`token_type`](Self::token_type) says.
/// - The signature is that of the key.
/// - `exp` exists and is later than now; `nbf`, if it exists, is not. Both are numbers, which may have a fraction.
/// - `iss` and `aud` are as [`issuer`](Self::issuer) and [`audience`](Self::audience) say. Without an audience here, a token that has one
///   is for another recipient.
/// - `sub` exists, or the claim that [`subject_claim`](Self::subject_claim) names.
///
/// Clones share the cache of verified tokens.
#[derive(Debug, Clone)]
pub struct Jwt(Arc<Verifier>);

#[derive(Debug)]
struct Verifier {
    config: Config,
    keys: Keys,
    verified: VerifiedTokens,
}

#[derive(Clone)]
struct Config {
    issuer: Option<Box<str>>,
    audiences: Vec<Box<str>>,
    any_audience: bool,
    token_type: Option<Box<str>>,
    leeway: Duration,
    subject_claim: Box<str>,
    roles_claim: Vec<Box<str>>,
    cached_tokens: usize,
    /// The system's time, if there is no other clock.
    clock: Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>,
}

/// The next step of a verification.
enum Step {
    Verified(Principal),
    /// The keys are being loaded.
    Wait(Waiter),
}

impl Jwt {
    /// Verifies tokens by these keys.
    ///
    /// If they are those of an [OpenID provider](crate::JwksSource::provider), tokens must be by this issuer.
    #[must_use]
    pub fn new(keys: impl Into<Keys>) -> Self {
        let keys = keys.into();
        let config = Config {
            issuer: keys.issuer().map(Into::into),
            audiences: Vec::new(),
            any_audience: false,
            token_type: None,
            leeway: Duration::ZERO,
            subject_claim: SUBJECT.into(),
            roles_claim: Vec::new(),
            cached_tokens: CACHED_TOKENS,
            clock: None,
        };
        Self::from_config(config, keys)
    }

    /// Requires the claim `iss` to be exactly this; any issuer by default.
    #[must_use]
    pub fn issuer(self, issuer: impl Into<Box<str>>) -> Self {
        self.with(|config| config.issuer = Some(issuer.into()))
    }

    /// Requires the claim `aud` to be, or to contain, exactly this audience or another one that was set before.
    #[must_use]
    pub fn audience(self, audience: impl Into<Box<str>>) -> Self {
        self.with(|config| config.audiences.push(audience.into()))
    }

    /// Accepts tokens for any audience.
    ///
    /// A token that another service got from its caller is then valid here, too.
    #[must_use]
    pub fn any_audience(self) -> Self {
        self.with(|config| config.any_audience = true)
    }

    /// Requires the header `typ` to be this media type, such as `at+jwt` for access tokens ([RFC 9068]).
    ///
    /// An id token of the same issuer is then no access token. A prefix `application/` and the case are ignored. By default `typ` may
    /// be missing, `JWT` or `at+jwt`.
    ///
    /// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068#section-2.1
    #[must_use]
    pub fn token_type(self, token_type: impl Into<Box<str>>) -> Self {
        self.with(|config| config.token_type = Some(token_type.into()))
    }

    /// Accepts tokens this long after `exp` and before `nbf`, for clocks that differ; 0 by default.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        self.with(|config| config.leeway = leeway)
    }

    /// Takes the subject of the [`Principal`] from this claim; from `sub` by default. Tokens without the claim are refused.
    #[must_use]
    pub fn subject_claim(self, name: impl Into<Box<str>>) -> Self {
        self.with(|config| config.subject_claim = name.into())
    }

    /// Takes the roles of the [`Principal`] from a claim, by its path: `["roles"]`, or `["realm_access", "roles"]`; no roles by default.
    ///
    /// The claim is a list of texts, or one text.
    #[must_use]
    pub fn roles_claim<T: Into<Box<str>>>(self, path: impl IntoIterator<Item = T>) -> Self {
        let path = path.into_iter().map(Into::into).collect();
        self.with(|config| config.roles_claim = path)
    }

    /// Sets the number of verified tokens that are remembered, so that their next verification costs a hash; 1024 by default.
    ///
    /// A token is remembered by a keyed hash. It is refused like any other when it expires or when its key is gone.
    #[must_use]
    pub fn cached_tokens(self, tokens: usize) -> Self {
        self.with(|config| config.cached_tokens = tokens)
    }

    /// Reads the time from a function; [`SystemTime::now`] by default.
    #[must_use]
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|config| config.clock = Some(Arc::new(now)))
    }

    /// Verifies a token. Its [`Claims`] are in the [principal](Principal::claims).
    ///
    /// Waits only if keys have to be loaded.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the token is refused. It is not for the caller.
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        match self.begin(token)? {
            Step::Verified(principal) => Ok(principal),
            Step::Wait(waiter) => self.end(token, waiter).await,
        }
    }

    fn from_config(config: Config, keys: Keys) -> Self {
        let verified = VerifiedTokens::new(config.cached_tokens);
        Self(Arc::new(Verifier {
            config,
            keys,
            verified,
        }))
    }

    fn with(self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.0.config.clone();
        set(&mut config);
        Self::from_config(config, self.0.keys.clone())
    }

    /// Verifies a token by the present keys, if it needs no others.
    #[inline]
    fn begin(&self, token: &str) -> Result<Step, TokenError> {
        let Verifier {
            config,
            keys,
            verified,
        } = &*self.0;
        let now = config.now();
        let cached = verified.find(token, keys.generation(), now);
        if let Some(principal) = cached {
            return Ok(Step::Verified(principal));
        }
        let unverified = compact::parse(token)?;
        let snapshot = keys.snapshot();
        let waiter = if snapshot.generation() == 0 {
            let waiter = keys.start(Reason::Due);
            Some(waiter.ok_or(TokenError::KeysUnavailable)?)
        } else {
            // Only a key that a token names can appear.
            let (algorithm, id) = (unverified.parts.header.algorithm, unverified.parts.key_id());
            match snapshot.keys().find(algorithm, id) {
                Err(TokenError::UnknownKey) if id.is_some() => keys.start(Reason::UnknownKey),
                _ => None,
            }
        };
        match waiter {
            Some(waiter) => Ok(Step::Wait(waiter)),
            None => self
                .check(token, unverified, &snapshot, now)
                .map(Step::Verified),
        }
    }

    /// Verifies a token by the keys that were loaded in the meantime.
    async fn end(&self, token: &str, waiter: Waiter) -> Result<Principal, TokenError> {
        let result = waiter.wait().await;
        let snapshot = self.0.keys.snapshot();
        if snapshot.generation() == 0 && result.is_err() {
            return Err(TokenError::KeysUnavailable);
        }
        let unverified = compact::parse(token)?;
        self.check(token, unverified, &snapshot, self.0.config.now())
    }

    fn check(
        &self,
        token: &str,
        unverified: Unverified<'_>,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Principal, TokenError> {
        let Verifier {
            config, verified, ..
        } = &*self.0;
        let claims = config.check_signature(unverified, snapshot.keys())?;
        let validity = claims.validity()?;
        if now.is_after(validity) {
            return Err(TokenError::Expired);
        }
        if now.is_before(validity) {
            return Err(TokenError::NotYetValid);
        }
        let principal = config.principal(claims)?;
        verified.insert(token, snapshot.generation(), validity, &principal, now);
        Ok(principal)
    }
}

/// Reports the reason of a refused token as the cause, for the events of the layer.
impl VerifyToken for Jwt {
    #[inline]
    fn verify(
        &self,
        token: &str,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        match self.begin(token) {
            Ok(Step::Verified(principal)) => Ok(Admission::Now(principal)),
            Ok(Step::Wait(waiter)) => {
                let (jwt, token) = (self.clone(), token.to_owned());
                Ok(Admission::Later(Box::pin(async move {
                    let result = jwt.end(&token, waiter).await;
                    result.map_err(|error| jwt.auth_error(error))
                })))
            }
            Err(error) => Err(self.auth_error(error)),
        }
    }
}

impl Jwt {
    #[cold]
    fn auth_error(&self, error: TokenError) -> AuthError {
        match error {
            TokenError::KeysUnavailable => {
                let wait = self.0.keys.retry_after();
                AuthError::unavailable(error.as_str()).with_retry_after(wait)
            }
            _ => AuthError::invalid(error.as_str()),
        }
    }
}

impl Config {
    #[inline]
    fn now(&self) -> Time {
        let now = match &self.clock {
            None => SystemTime::now(),
            Some(clock) => clock(),
        };
        Time {
            now: now
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
            leeway: self.leeway,
        }
    }

    fn check_signature(&self, token: Unverified<'_>, keys: &KeySet) -> Result<Claims, TokenError> {
        let parts = token.parts;
        if !self.is_expected_type(parts.header.kind.as_deref()) {
            return Err(TokenError::UnexpectedType);
        }
        let key = keys.find(parts.header.algorithm, parts.key_id())?;
        if !key.verify(parts.signed.as_bytes(), &parts.signature) {
            return Err(TokenError::BadSignature);
        }
        Ok(Claims::new(token.claims))
    }

    /// Compares media types (RFC 7515, section 4.1.9).
    fn is_expected_type(&self, kind: Option<&str>) -> bool {
        fn name(media_type: &str) -> &str {
            let prefix = "application/";
            match media_type.get(..prefix.len()) {
                Some(own) if own.eq_ignore_ascii_case(prefix) => &media_type[prefix.len()..],
                _ => media_type,
            }
        }
        let is = |expected: &str| {
            kind.is_some_and(|kind| name(kind).eq_ignore_ascii_case(name(expected)))
        };
        match &self.token_type {
            Some(expected) => is(expected),
            None => kind.is_none() || is("JWT") || is("at+jwt"),
        }
    }

    /// Checks issuer, audience and subject.
    fn principal(&self, claims: Claims) -> Result<Principal, TokenError> {
        if let Some(issuer) = &self.issuer
            && claims.issuer() != Some(issuer)
        {
            return Err(TokenError::WrongIssuer);
        }
        let is_for_us = match claims.has_audience(&self.audiences)? {
            Some(found) => found || self.any_audience,
            None => self.audiences.is_empty() || self.any_audience,
        };
        if !is_for_us {
            return Err(TokenError::WrongAudience);
        }
        let subject = claims
            .get(&self.subject_claim)
            .and_then(|claim| claim.as_str());
        let subject = subject.ok_or(TokenError::BadClaim)?;
        let mut principal = Principal::new(subject, Proof::BearerToken)
            .with_scopes(claims.scopes())
            .with_roles(claims.roles(&self.roles_claim));
        if let Some(issuer) = claims.issuer() {
            principal = principal.with_issuer(issuer);
        }
        Ok(principal.with_claims(claims))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("any_audience", &self.any_audience)
            .field("token_type", &self.token_type)
            .field("leeway", &self.leeway)
            .field("subject_claim", &self.subject_claim)
            .field("roles_claim", &self.roles_claim)
            .field("cached_tokens", &self.cached_tokens)
            .finish_non_exhaustive()
    }
}
