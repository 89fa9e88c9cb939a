//! Tokens of attackers.

use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::json;
use towerkit_auth_jwt::{Algorithm, Key, Keys, SigningKey, TokenError};

use crate::{
    keys::*,
    tokens::{SECRET, claims, encode, hs256, jwt, refused, signed, token, verify},
};

fn der(pem: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// JW-02
#[test]
fn a_token_without_an_algorithm_is_refused() {
    let jwt = hs256();
    for alg in [
        json!("none"),
        json!("None"),
        json!("nOnE"),
        json!("NONE"),
        json!(""),
        json!("HS256 "),
        json!("hs256"),
        json!("HS1"),
        json!(["HS256"]),
        json!(null),
        json!(0),
    ] {
        let header = json!({ "alg": alg }).to_string();
        let claims = claims().to_string();
        let token = signed(SECRET, &header, &claims);
        refused(&jwt, &token, TokenError::UnexpectedAlgorithm);
        let unsigned = format!("{}.{}.", encode(&header), encode(&claims));
        refused(&jwt, &unsigned, TokenError::UnexpectedAlgorithm);
    }
    let token = signed(SECRET, r#"{"typ":"JWT"}"#, &claims().to_string());
    refused(&jwt, &token, TokenError::UnexpectedAlgorithm);
}

/// JW-03
#[test]
fn a_public_key_is_no_secret() {
    for (algorithm, public) in [
        (Algorithm::Rs256, RSA_PUBLIC),
        (Algorithm::Es256, ES256_PUBLIC),
        (Algorithm::EdDsa, ED25519_PUBLIC),
    ] {
        let der = der(public);
        let jwk = format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#,
            encode(&der[12..])
        );
        let secrets = [
            public.as_bytes(),
            public.trim().as_bytes(),
            &der,
            &der[der.len() - 32..],
            jwk.as_bytes(),
        ];
        let key = Key::pem(algorithm, public.as_bytes()).unwrap();
        let alone = jwt(key.clone());
        let secret = Key::secret(Algorithm::Hs256, SECRET).unwrap();
        let mixed = jwt(Keys::new([key.id("public"), secret.id("secret")]).unwrap());
        for secret in secrets {
            let token = signed(secret, r#"{"alg":"HS256"}"#, &claims().to_string());
            refused(&alone, &token, TokenError::UnexpectedAlgorithm);
            // The only secret is meant, and it is another one.
            refused(&mixed, &token, TokenError::BadSignature);
            let header = r#"{"alg":"HS256","kid":"public"}"#;
            let token = signed(secret, header, &claims().to_string());
            refused(&mixed, &token, TokenError::UnexpectedAlgorithm);
        }
    }
}

/// JW-04
#[test]
fn the_id_of_a_key_is_only_compared() {
    let key = Key::secret(Algorithm::Hs256, SECRET).unwrap().id("known");
    let jwt = jwt(key);
    for id in [
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!("known' or '1'='1"),
        json!("http://127.0.0.1:1/key"),
        json!("known\u{0}"),
        json!(""),
        json!("k".repeat(4000)),
    ] {
        let header = json!({ "alg": "HS256", "kid": id }).to_string();
        for secret in [SECRET, b""] {
            let token = signed(secret, &header, &claims().to_string());
            refused(&jwt, &token, TokenError::UnknownKey);
        }
    }
    for id in [json!(null), json!(7), json!(["known"])] {
        let header = json!({ "alg": "HS256", "kid": id }).to_string();
        let token = signed(SECRET, &header, &claims().to_string());
        refused(&jwt, &token, TokenError::Malformed);
    }
    let header = json!({ "alg": "HS256", "kid": "k".repeat(1 << 20) }).to_string();
    refused(&jwt, &signed(SECRET, &header, "{}"), TokenError::TooLong);
}

/// JW-05
#[test]
fn a_token_does_not_bring_its_own_key() {
    let jwt = jwt(Key::pem(Algorithm::EdDsa, ED25519_PUBLIC.as_bytes()).unwrap());
    let jwk = json!({ "kty": "oct", "k": encode(SECRET), "alg": "HS256" });
    let header = json!({ "alg": "HS256", "jwk": jwk }).to_string();
    let token = signed(SECRET, &header, &claims().to_string());
    refused(&jwt, &token, TokenError::UnexpectedAlgorithm);

    // They are ignored in a token that is valid anyway.
    let header = json!({ "alg": "HS256", "jwk": jwk, "jku": "http://127.0.0.1:1", "x5u": "http://127.0.0.1:1", "x5c": ["AAAA"] });
    let token = signed(SECRET, &header.to_string(), &claims().to_string());
    assert!(verify(&hs256(), &token).is_ok());
}

/// JW-08
#[test]
fn the_form_is_checked_before_the_signature() {
    let jwt = hs256();
    let good = token(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}.{signature}"),
        format!("{good}.a.b"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header} .{payload}.{signature}"),
        format!("{header}\r\n.{payload}.{signature}"),
        format!("{header}.{payload}+.{signature}"),
        format!("{header}.{payload}/.{signature}"),
        format!("{header}.{payload}é.{signature}"),
        "not.a.token".to_owned(),
    ] {
        refused(&jwt, &bad, TokenError::Malformed);
    }
    // The last character of the signature has two bits to spare; they must be 0.
    let mut spare = good.clone().into_bytes();
    *spare.last_mut().unwrap() += 1;
    refused(
        &jwt,
        &String::from_utf8(spare).unwrap(),
        TokenError::Malformed,
    );

    let long = token(&crate::tokens::with(json!({ "a": "x".repeat(6000) })));
    assert!(long.len() > 8000 && long.len() <= 8192);
    assert!(verify(&jwt, &long).is_ok());
    let longer = token(&crate::tokens::with(json!({ "a": "x".repeat(6200) })));
    refused(&jwt, &longer, TokenError::TooLong);
}

/// JW-08
#[test]
fn deep_and_ambiguous_json_is_refused() {
    let jwt = hs256();
    let header = r#"{"alg":"HS256"}"#;
    for levels in [16, 100, 2000] {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let deep = format!(r#"{{"sub":"ann","exp":9e9,"a":{nested}}}"#);
        refused(&jwt, &signed(SECRET, header, &deep), TokenError::Malformed);
        let deep = format!(r#"{{"alg":"HS256","a":{nested}}}"#);
        refused(&jwt, &signed(SECRET, &deep, "{}"), TokenError::Malformed);
    }
    for claims in [
        r#"{"sub":"ann","sub":"bob","exp":9e9}"#,
        r#"{"sub":"ann","exp":1,"e\u0078p":9e9}"#,
        r#"{"sub":"ann","exp":9e9,"a":{"b":1,"b":2}}"#,
        r#"{"sub":"ann","exp":9e9} "#,
        r#"[{"sub":"ann","exp":9e9}]"#,
        "null",
        "",
    ] {
        let token = signed(SECRET, header, claims);
        match claims.ends_with(' ') {
            // White space around JSON is JSON.
            true => assert!(verify(&jwt, &token).is_ok()),
            false => refused(&jwt, &token, TokenError::Malformed),
        }
    }
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"HS256"}"#,
    ] {
        refused(&jwt, &signed(SECRET, header, "{}"), TokenError::Malformed);
    }
}

#[test]
fn extensions_are_refused() {
    let claims = claims().to_string();
    for extension in [
        json!({ "alg": "HS256", "crit": ["exp"], "exp": 1 }),
        json!({ "alg": "HS256", "crit": [] }),
        json!({ "alg": "HS256", "crit": null }),
        json!({ "alg": "HS256", "b64": false }),
        json!({ "alg": "HS256", "b64": false, "crit": ["b64"] }),
        json!({ "alg": "HS256", "b64": "true" }),
    ] {
        let token = signed(SECRET, &extension.to_string(), &claims);
        refused(&hs256(), &token, TokenError::UnsupportedExtension);
    }
    let token = signed(SECRET, r#"{"alg":"HS256","b64":true}"#, &claims);
    assert!(verify(&hs256(), &token).is_ok());
}

/// JW-11
#[test]
fn signatures_have_one_form() {
    let sign = |algorithm, private: &str| {
        let key = SigningKey::pem(algorithm, private.as_bytes()).unwrap();
        key.sign(&claims()).unwrap()
    };
    let es256 = jwt(Key::pem(Algorithm::Es256, ES256_PUBLIC.as_bytes()).unwrap());
    let token = sign(Algorithm::Es256, ES256_PRIVATE);
    assert!(verify(&es256, &token).is_ok());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let random = ring::rand::SystemRandom::new();
    let pkcs8 = der(ES256_PRIVATE);
    let asn1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random).unwrap();
    let asn1 = asn1.sign(&random, message.as_bytes()).unwrap();
    // The order of the group.
    let n: Vec<u8> = [
        &[0xff; 4][..],
        &[0; 4],
        &[0xff; 8],
        &0xbce6_faad_a717_9e84_u64.to_be_bytes(),
        &0xf3b9_cac2_fc63_2551_u64.to_be_bytes(),
    ]
    .concat();
    for bad in [
        [[0; 32], [0; 32]].concat(),
        [&[0; 32], s].concat(),
        [r, &[0; 32]].concat(),
        [&n, s].concat(),
        [r, &n].concat(),
        [[0xff; 32], [0xff; 32]].concat(),
        [s, r].concat(),
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
        [&[0], r, &[0], s].concat(),
        asn1.as_ref().to_vec(),
        Vec::new(),
    ] {
        let token = format!("{message}.{}", encode(bad));
        refused(&es256, &token, TokenError::BadSignature);
    }

    let ed25519 = jwt(Key::pem(Algorithm::EdDsa, ED25519_PUBLIC.as_bytes()).unwrap());
    let token = sign(Algorithm::EdDsa, ED25519_PRIVATE);
    assert!(verify(&ed25519, &token).is_ok());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    // S plus the order of the group is the same number to a careless verifier.
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    let mut other = signature.clone();
    for (byte, add) in other[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + add + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    for bad in [other, signature[..63].to_vec(), vec![0; 64]] {
        let token = format!("{message}.{}", encode(bad));
        refused(&ed25519, &token, TokenError::BadSignature);
    }
}

fn decode(text: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
