//! The tests of go-kit's `auth/jwt`.

use serde_json::json;
use towerkit_auth_jwt::{Algorithm, Claims, Jwt, Key, SigningKey, TokenError};

use crate::tokens::{NOW, at, claims, refused, verify, with};

const KEY: &[u8] = b"test_signing_key";

fn signing_key() -> SigningKey {
    SigningKey::short_secret(Algorithm::Hs256, KEY)
        .unwrap()
        .id("kid")
}

fn parser() -> Jwt {
    let key = Key::short_secret(Algorithm::Hs256, KEY).unwrap();
    Jwt::new(key).clock(at(NOW)).any_audience()
}

/// GK-JW-1: the same tokens, byte for byte.
#[test]
fn tokens_are_those_of_go_kit() {
    let header = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtpZCIsInR5cCI6IkpXVCJ9";
    #[derive(serde::Serialize)]
    struct Own {
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        my_property: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        aud: Option<&'static str>,
    }
    let own = |user, my_property, aud| Own {
        user,
        my_property,
        aud,
    };
    let go_kit = Some("go-kit");
    let tokens = [
        (
            own(go_kit, None, None),
            "eyJ1c2VyIjoiZ28ta2l0In0.14M2VmYyApdSlV_LZ88ajjwuaLeIFplB8JpyNy0A19E",
        ),
        (
            own(None, None, go_kit),
            "eyJhdWQiOiJnby1raXQifQ.L5ypIJjCOOv3jJ8G5SelaHvR04UJuxmcBN5QW3m_aoY",
        ),
        (
            own(None, Some("some value"), go_kit),
            "eyJteV9wcm9wZXJ0eSI6InNvbWUgdmFsdWUiLCJhdWQiOiJnby1raXQifQ.s8F-IDrV4WPJUsqr7qfDi-3GRlcKR0SRnkTeUT_U-i0",
        ),
    ];
    for (claims, rest) in tokens {
        let signed = signing_key().sign(&claims);
        assert_eq!(signed.unwrap(), format!("{header}.{rest}"));
        // Its signature is good; but a token without an end is refused here.
        refused(&parser(), &format!("{header}.{rest}"), TokenError::BadClaim);
    }
}

/// GK-JW-2
#[test]
fn the_parser_refuses_what_that_of_go_kit_refuses() {
    let rs256 = SigningKey::pem(Algorithm::Rs256, crate::keys::RSA_PRIVATE.as_bytes()).unwrap();
    let rs256 = rs256.sign(&claims()).unwrap();
    refused(&parser(), &rs256, TokenError::UnexpectedAlgorithm);

    let hs256 = signing_key().sign(&claims()).unwrap();
    let key = Key::pem(Algorithm::Rs256, crate::keys::RSA_PUBLIC.as_bytes()).unwrap();
    refused(&Jwt::new(key), &hs256, TokenError::UnexpectedAlgorithm);

    let key = Key::short_secret(Algorithm::Hs256, b"bad_key").unwrap();
    refused(&Jwt::new(key), &hs256, TokenError::BadSignature);

    refused(&parser(), "malformed.jwt.token", TokenError::Malformed);
    let expired = signing_key()
        .sign(&with(json!({ "exp": NOW - 100 })))
        .unwrap();
    refused(&parser(), &expired, TokenError::Expired);
    let early = signing_key()
        .sign(&with(json!({ "nbf": NOW + 100 })))
        .unwrap();
    refused(&parser(), &early, TokenError::NotYetValid);
}

/// GK-JW-2
#[test]
fn the_claims_of_any_type_reach_the_caller() {
    #[derive(serde::Deserialize)]
    struct Custom {
        my_property: String,
        aud: String,
    }
    let claims = with(json!({ "user": "go-kit", "my_property": "some value", "aud": "go-kit" }));
    let token = signing_key().sign(&claims).unwrap();
    let principal = verify(&parser().subject_claim("user"), &token).unwrap();
    assert_eq!(principal.subject(), "go-kit");
    let found: &Claims = principal.claims().unwrap();
    assert_eq!(found.get("user").unwrap(), "go-kit");
    let custom: Custom = found.to().unwrap();
    assert_eq!(
        (&*custom.my_property, &*custom.aud),
        ("some value", "go-kit")
    );
}
