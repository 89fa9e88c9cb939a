//! Tokens as issuers and attackers make them.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use ring::hmac;
use serde_json::{Value, json};
use towerkit_auth::Principal;
use towerkit_auth_jwt::{Algorithm, Jwt, Key, Keys, SigningKey, TokenError};

pub(crate) const SECRET: &[u8] = b"tk-canary-5f0c1d secret of 32 bytes and more";

/// The time of the tests, in seconds.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn at(seconds: u64) -> impl Fn() -> SystemTime + Clone {
    move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A verifier at the time of the tests.
pub(crate) fn jwt(keys: impl Into<Keys>) -> Jwt {
    Jwt::new(keys).clock(at(NOW))
}

/// A verifier of tokens that [`token`] signs.
pub(crate) fn hs256() -> Jwt {
    jwt(Key::secret(Algorithm::Hs256, SECRET).unwrap())
}

/// Signs claims by the secret.
pub(crate) fn token(claims: &Value) -> String {
    let key = SigningKey::secret(Algorithm::Hs256, SECRET).unwrap();
    key.sign(claims).unwrap()
}

/// Claims that are valid for a minute.
pub(crate) fn claims() -> Value {
    json!({ "sub": "ann", "exp": NOW + 60 })
}

/// Claims with other members.
pub(crate) fn with(members: Value) -> Value {
    let mut claims = claims();
    let Value::Object(members) = members else {
        panic!("not an object");
    };
    claims.as_object_mut().unwrap().extend(members);
    claims
}

/// Signs any two texts with HS256.
pub(crate) fn signed(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Verifies a token by keys that are there.
pub(crate) fn verify(jwt: &Jwt, token: &str) -> Result<Principal, TokenError> {
    let result = jwt.verify(token).now_or_never();
    result.expect("the keys are there")
}

#[track_caller]
pub(crate) fn refused(jwt: &Jwt, token: &str, error: TokenError) {
    let refused = verify(jwt, token).map(|principal| principal.subject().to_owned());
    assert_eq!(refused, Err(error), "{token:.200}");
}
