//! Which tokens are valid.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::json;
use towerkit_auth::Proof;
use towerkit_auth_jwt::{Algorithm, Claims, Jwt, Key, Keys, SigningKey, TokenError};

use crate::{
    keys::*,
    tokens::{NOW, SECRET, at, claims, hs256, jwt, refused, token, verify, with},
};

#[test]
fn a_token_of_each_algorithm_is_valid_for_its_key_alone() {
    let pairs = [
        (Algorithm::Rs256, RSA_PRIVATE, RSA_PUBLIC),
        (Algorithm::Rs384, RSA_PRIVATE, RSA_PUBLIC),
        (Algorithm::Rs512, RSA_PRIVATE, RSA_PUBLIC),
        (Algorithm::Ps256, RSA_PRIVATE, RSA_PUBLIC),
        (Algorithm::Ps384, RSA_PRIVATE, RSA_PUBLIC),
        (Algorithm::Ps512, RSA_PRIVATE, RSA_PUBLIC),
        (Algorithm::Es256, ES256_PRIVATE, ES256_PUBLIC),
        (Algorithm::Es384, ES384_PRIVATE, ES384_PUBLIC),
        (Algorithm::EdDsa, ED25519_PRIVATE, ED25519_PUBLIC),
    ];
    let long = [7; 64];
    let mut verifiers = Vec::new();
    let mut tokens = Vec::new();
    for (algorithm, private, public) in pairs {
        let key = SigningKey::pem(algorithm, private.as_bytes()).unwrap();
        tokens.push((algorithm, key.sign(&claims()).unwrap()));
        verifiers.push((
            algorithm,
            jwt(Key::pem(algorithm, public.as_bytes()).unwrap()),
        ));
    }
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let key = SigningKey::secret(algorithm, &long).unwrap();
        tokens.push((algorithm, key.sign(&claims()).unwrap()));
        verifiers.push((algorithm, jwt(Key::secret(algorithm, &long).unwrap())));
    }
    for (own, verifier) in &verifiers {
        for (algorithm, token) in &tokens {
            if own == algorithm {
                assert_eq!(verify(verifier, token).unwrap().subject(), "ann", "{own}");
            } else {
                refused(verifier, token, TokenError::UnexpectedAlgorithm);
            }
        }
    }
}

#[test]
fn the_principal_has_the_claims_scopes_and_roles() {
    let jwt = hs256()
        .any_audience()
        .roles_claim(["realm_access", "roles"]);
    let token = token(&with(json!({
        "iss": "https://id.example",
        "scope": "orders:read  orders:write",
        "scp": ["billing"],
        "realm_access": { "roles": ["clerk", 7, "admin"] },
        "tenant": "acme",
    })));
    let ann = verify(&jwt, &token).unwrap();
    assert_eq!(
        (ann.subject(), ann.issuer()),
        ("ann", Some("https://id.example"))
    );
    assert_eq!(ann.proof(), Proof::BearerToken);
    assert!(ann.scopes().eq(["orders:read", "orders:write", "billing"]));
    assert!(ann.roles().eq(["clerk", "admin"]));
    let claims: &Claims = ann.claims().unwrap();
    assert_eq!(claims.get("tenant").unwrap(), "acme");
    #[derive(serde::Deserialize)]
    struct Own {
        tenant: String,
    }
    assert_eq!(claims.to::<Own>().unwrap().tenant, "acme");
    assert!(!format!("{ann:?} {claims:?} {jwt:?}").contains("acme"));

    let client = hs256().subject_claim("client_id");
    refused(&client, &token, TokenError::BadClaim);
}

/// JW-06
#[test]
fn a_token_expires_at_its_time_and_not_later() {
    let jwt = hs256();
    refused(
        &jwt,
        &token(&with(json!({ "exp": NOW - 1 }))),
        TokenError::Expired,
    );
    refused(
        &jwt,
        &token(&with(json!({ "exp": NOW }))),
        TokenError::Expired,
    );
    assert!(verify(&jwt, &token(&with(json!({ "exp": NOW + 1 })))).is_ok());
    // A NumericDate may have a fraction (RFC 7519, section 2).
    assert!(verify(&jwt, &token(&with(json!({ "exp": NOW as f64 + 0.5 })))).is_ok());
    refused(
        &jwt,
        &token(&with(json!({ "exp": NOW as f64 - 0.5 }))),
        TokenError::Expired,
    );
    assert!(verify(&jwt, &token(&with(json!({ "exp": 1e300 })))).is_ok());
    assert!(verify(&jwt, &token(&with(json!({ "exp": u64::MAX })))).is_ok());
}

/// JW-06
#[test]
fn times_are_numbers() {
    let jwt = hs256();
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("1900000000"),
            json!(null),
            json!(-1),
            json!(-1.5),
            json!([1_900_000_000]),
            json!({}),
            json!(true),
        ] {
            refused(
                &jwt,
                &token(&with(json!({ name: value }))),
                TokenError::BadClaim,
            );
        }
    }
    for number in ["1e400", "NaN", "Infinity", "0x7fffffff", "01", "+1"] {
        let claims = format!(r#"{{"sub":"ann","exp":{number}}}"#);
        let token = crate::tokens::signed(SECRET, r#"{"alg":"HS256"}"#, &claims);
        refused(&jwt, &token, TokenError::Malformed);
    }
    refused(&jwt, &token(&json!({ "sub": "ann" })), TokenError::BadClaim);
}

/// JW-06
#[test]
fn a_token_is_not_valid_before_its_time() {
    let jwt = hs256();
    refused(
        &jwt,
        &token(&with(json!({ "nbf": NOW + 1 }))),
        TokenError::NotYetValid,
    );
    refused(
        &jwt,
        &token(&with(json!({ "nbf": NOW as f64 + 0.1 }))),
        TokenError::NotYetValid,
    );
    assert!(verify(&jwt, &token(&with(json!({ "nbf": NOW })))).is_ok());
}

/// JW-06
#[test]
fn the_leeway_is_exact_and_never_underflows() {
    let jwt = hs256().leeway(Duration::from_secs(10));
    assert!(verify(&jwt, &token(&with(json!({ "exp": NOW - 9 })))).is_ok());
    refused(
        &jwt,
        &token(&with(json!({ "exp": NOW - 10 }))),
        TokenError::Expired,
    );
    assert!(verify(&jwt, &token(&with(json!({ "nbf": NOW + 10 })))).is_ok());
    refused(
        &jwt,
        &token(&with(json!({ "nbf": NOW + 11 }))),
        TokenError::NotYetValid,
    );

    let endless = hs256().leeway(Duration::MAX);
    assert!(
        verify(
            &endless,
            &token(&with(json!({ "exp": 0, "nbf": u64::MAX })))
        )
        .is_ok()
    );
    let before_1970 = || SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let early = hs256().clock(before_1970).leeway(Duration::from_secs(5));
    assert!(verify(&early, &token(&with(json!({ "exp": 1 })))).is_ok());
    refused(
        &early,
        &token(&with(json!({ "nbf": 6 }))),
        TokenError::NotYetValid,
    );
}

/// JW-07
#[test]
fn the_audience_is_one_of_those_of_the_token_and_compared_exactly() {
    let jwt = hs256()
        .audience("orders")
        .audience("https://orders.example");
    for audience in [
        json!("orders"),
        json!("https://orders.example"),
        json!(["billing", "orders"]),
    ] {
        assert!(verify(&jwt, &token(&with(json!({ "aud": audience })))).is_ok());
    }
    for audience in [
        json!("order"),
        json!("orders "),
        json!("Orders"),
        json!("billing orders"),
        json!("https://orders.example/"),
        json!(""),
        json!([]),
        json!(["order", "ordersx"]),
    ] {
        let token = token(&with(json!({ "aud": audience })));
        refused(&jwt, &token, TokenError::WrongAudience);
    }
    for audience in [
        json!(null),
        json!(7),
        json!({ "a": "orders" }),
        json!(["orders", 7]),
    ] {
        let token = token(&with(json!({ "aud": audience })));
        refused(&jwt, &token, TokenError::BadClaim);
    }
    refused(&jwt, &token(&claims()), TokenError::WrongAudience);
}

/// JW-07
#[test]
fn a_token_for_another_audience_is_refused_unless_any_is_accepted() {
    let token = token(&with(json!({ "aud": "billing" })));
    refused(&hs256(), &token, TokenError::WrongAudience);
    assert!(verify(&hs256().any_audience(), &token).is_ok());
}

/// JW-07
#[test]
fn the_issuer_is_compared_exactly() {
    let jwt = hs256().issuer("https://id.example");
    assert!(verify(&jwt, &token(&with(json!({ "iss": "https://id.example" })))).is_ok());
    for issuer in [
        "https://id.example/",
        "https://ID.example",
        "https://id.exampl",
        "",
    ] {
        let token = token(&with(json!({ "iss": issuer })));
        refused(&jwt, &token, TokenError::WrongIssuer);
    }
    refused(&jwt, &token(&claims()), TokenError::WrongIssuer);
    refused(
        &jwt,
        &token(&with(json!({ "iss": ["https://id.example"] }))),
        TokenError::BadClaim,
    );
}

#[test]
fn subject_and_id_are_texts() {
    refused(
        &hs256(),
        &token(&json!({ "exp": NOW + 1 })),
        TokenError::BadClaim,
    );
    for name in ["sub", "jti", "iss"] {
        refused(
            &hs256(),
            &token(&with(json!({ name: 7 }))),
            TokenError::BadClaim,
        );
    }
}

#[test]
fn an_access_token_is_no_id_token() {
    let typed = |token_type: &str| {
        let key = SigningKey::secret(Algorithm::Hs256, SECRET).unwrap();
        key.token_type(token_type).sign(&claims()).unwrap()
    };
    let untyped = crate::tokens::signed(SECRET, r#"{"alg":"HS256"}"#, &claims().to_string());
    for token in [typed("JWT"), typed("jwt"), typed("at+jwt"), untyped.clone()] {
        assert!(verify(&hs256(), &token).is_ok());
    }
    for token_type in ["logout+jwt", "secevent+jwt", "dpop+jwt", "", "JWT "] {
        refused(&hs256(), &typed(token_type), TokenError::UnexpectedType);
    }
    let access_tokens = hs256().token_type("at+jwt");
    for token_type in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(verify(&access_tokens, &typed(token_type)).is_ok());
    }
    refused(&access_tokens, &typed("JWT"), TokenError::UnexpectedType);
    refused(&access_tokens, &untyped, TokenError::UnexpectedType);
}

#[test]
fn a_key_is_chosen_by_its_id() {
    let key = |id: &str, byte: u8| Key::secret(Algorithm::Hs256, &[byte; 32]).unwrap().id(id);
    let sign = |id: &str, byte: u8| {
        let key = SigningKey::secret(Algorithm::Hs256, &[byte; 32]).unwrap();
        key.id(id).sign(&claims()).unwrap()
    };
    let jwt = jwt(Keys::new([key("a", 1), key("b", 2)]).unwrap());
    assert!(verify(&jwt, &sign("a", 1)).is_ok());
    assert!(verify(&jwt, &sign("b", 2)).is_ok());
    refused(&jwt, &sign("a", 2), TokenError::BadSignature);
    refused(&jwt, &sign("c", 1), TokenError::UnknownKey);
    let without_id = SigningKey::secret(Algorithm::Hs256, &[1; 32]).unwrap();
    refused(
        &jwt,
        &without_id.sign(&claims()).unwrap(),
        TokenError::UnknownKey,
    );
}

#[test]
fn a_cached_token_expires_and_is_bound_to_the_settings() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SECONDS: AtomicU64 = AtomicU64::new(NOW);
    let jwt = hs256().clock(|| at(SECONDS.load(Ordering::Relaxed))());
    let token = token(&claims());
    for _ in 0..3 {
        assert!(verify(&jwt, &token).is_ok());
    }
    // The cache of the settings before is not that of these.
    refused(
        &jwt.clone().audience("orders"),
        &token,
        TokenError::WrongAudience,
    );
    SECONDS.store(NOW + 60, Ordering::Relaxed);
    refused(&jwt, &token, TokenError::Expired);
    SECONDS.store(NOW + 59, Ordering::Relaxed);
    assert!(verify(&jwt, &token).is_ok());
}

/// GK-JW-4
#[test]
fn tokens_are_verified_by_many_threads() {
    let jwt = hs256().cached_tokens(64);
    let tokens: Vec<_> = (0..100)
        .map(|n| token(&with(json!({ "sub": n.to_string() }))))
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..100 {
            let (jwt, tokens) = (&jwt, &tokens);
            scope.spawn(move || {
                for turn in 0..100 {
                    let n = (thread * 7 + turn) % 100;
                    let found = verify(jwt, &tokens[n]).unwrap();
                    assert_eq!(found.subject(), n.to_string());
                }
            });
        }
    });
}

#[test]
fn wrong_keys_are_errors_of_the_configuration() {
    let error = |result: Result<Key, towerkit_core::ConfigError>| result.unwrap_err().to_string();
    assert!(error(Key::secret(Algorithm::Hs256, &[0; 31])).contains("at least 32 bytes"));
    assert!(error(Key::secret(Algorithm::Hs512, &[0; 63])).contains("at least 64 bytes"));
    assert!(error(Key::short_secret(Algorithm::Hs256, b"")).contains("at least 1 byte"));
    assert!(error(Key::secret(Algorithm::Rs256, SECRET)).contains("HS256, HS384 or HS512"));
    for (algorithm, pem) in [
        (Algorithm::Es384, ES256_PUBLIC),
        (Algorithm::Rs256, ES256_PUBLIC),
        (Algorithm::Es256, RSA_PUBLIC),
        (Algorithm::Rs256, RSA_1024_PUBLIC),
        (Algorithm::Hs256, RSA_PUBLIC),
        (Algorithm::Es256, ES256_PRIVATE),
        (
            Algorithm::EdDsa,
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        ),
        (Algorithm::EdDsa, ""),
    ] {
        assert!(error(Key::pem(algorithm, pem.as_bytes())).contains("the PEM of a public key"));
    }
    for (algorithm, pem) in [
        (Algorithm::Es384, ES256_PRIVATE),
        (Algorithm::Rs256, ES256_PRIVATE),
        (Algorithm::Es256, ES256_PUBLIC),
        (Algorithm::Hs256, RSA_PRIVATE),
    ] {
        let error = SigningKey::pem(algorithm, pem.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("the PEM of a private key"));
        assert!(!error.contains(&pem[40..60]));
    }
    assert!(Keys::new([]).is_err());
    let key = Key::secret(Algorithm::Hs256, SECRET).unwrap();
    assert!(Keys::new([key.clone(), key.clone()]).is_err());
    assert!(Keys::new([key.clone().id("a"), key.id("b")]).is_ok());
}

proptest! {
    /// Whatever a client sends, it is refused, and nothing panics.
    #[test]
    fn no_text_is_taken_for_a_token(text in ".{0,300}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,40}", 1..6)) {
        let jwt = hs256();
        prop_assert!(verify(&jwt, &text).is_err());
        prop_assert!(verify(&jwt, &parts.join(".")).is_err());
    }

    /// Each changed byte makes a token invalid.
    #[test]
    fn a_changed_token_is_refused(at in 0..1000_usize, to in "[A-Za-z0-9_.=-]") {
        let jwt: Jwt = hs256();
        let token = token(&claims());
        prop_assert!(verify(&jwt, &token).is_ok());
        let at = at % token.len();
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assume!(changed != token);
        prop_assert!(verify(&jwt, &changed).is_err());
    }
}
