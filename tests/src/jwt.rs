//! JW-08: a token and a key set are read by the rules of their formats, and an invalid one is refused without a panic.

use std::{collections::BTreeSet, convert::Infallible};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Map, Value};
use tokio::runtime::Builder;
use tower::service_fn;
use towerkit_auth_jwt::{Algorithm, Jwks, JwksSource, Jwt, Key, TokenError};

/// The one token that is valid: `{"alg":"HS256","typ":"JWT"}` and `{"sub":"ann","exp":4102444800}`.
const VALID: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.1TAYbS-Y9bg5WDC1sJP9240uCIk6jU1Qab8mTWljWGQ";

const SECRET: &[u8] = b"a secret of 32 bytes for fuzzing";

const MAX_DEPTH: usize = 16;

/// Verifies the bytes as a token. After a zero byte they are the JSON of header and claims, in two lines.
///
/// # Panics
///
/// If a token is taken for well-formed that is not, or the other way round, or if it is valid.
pub fn jwt(data: &[u8]) {
    let token = match data.split_first() {
        Some((0, json)) => {
            let mut parts = json.splitn(2, |byte| *byte == b'\n').map(encode);
            let [header, claims] = [(); 2].map(|()| parts.next().unwrap_or_default());
            format!("{header}.{claims}.AAAA")
        }
        _ => String::from_utf8_lossy(data).into_owned(),
    };
    let key = Key::secret(Algorithm::Hs256, SECRET).expect("32 bytes");
    let verdict = Jwt::new(key).verify(&token).now_or_never();
    match verdict.expect("the key is there").map(drop) {
        Ok(()) => assert_eq!(token, VALID),
        Err(TokenError::TooLong) => assert!(token.len() > 8192),
        Err(TokenError::Malformed) => assert!(!is_well_formed(&token), "{token}"),
        // These are found in the header, before the rest is read.
        Err(TokenError::UnexpectedAlgorithm | TokenError::UnsupportedExtension) => {
            let header = token.split('.').next().and_then(decode);
            assert!(
                header.and_then(|header| object(&header)).is_some(),
                "{token}"
            );
        }
        Err(_) => assert!(token != VALID && is_well_formed(&token), "{token}"),
    }
}

/// Loads the bytes as a key set.
///
/// # Panics
///
/// If a set without a usable key is loaded, or one with a usable key is not.
pub fn jwks(data: &[u8]) {
    let document = Bytes::copy_from_slice(data);
    let client = service_fn(move |_: Request<Full<Bytes>>| {
        let response = Response::new(Full::new(document.clone()));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let source = JwksSource::url("https://id.example/jwks");
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
    let keys = Jwks::new(source, algorithms).expect("valid settings");
    let runtime = Builder::new_current_thread().enable_time().build();
    let loaded = runtime
        .expect("a runtime")
        .block_on(keys.client(client).load());
    assert_eq!(
        loaded.is_ok(),
        has_usable_key(data),
        "{}",
        data.escape_ascii()
    );
}

fn is_well_formed(token: &str) -> bool {
    let parts: Vec<_> = token.split('.').map(decode).collect();
    let [Some(header), Some(claims), Some(_)] = &parts[..] else {
        return false;
    };
    let Some(header) = object(header) else {
        return false;
    };
    let is_text = |name| header.get(name).is_none_or(Value::is_string);
    object(claims).is_some() && is_text("kid") && is_text("typ")
}

fn has_usable_key(document: &[u8]) -> bool {
    let Some(document) = object(document) else {
        return false;
    };
    match document.get("keys").and_then(Value::as_array) {
        Some(keys) if keys.len() <= 100 => keys.iter().any(is_usable),
        _ => false,
    }
}

fn is_usable(key: &Value) -> bool {
    let Some(members) = key.as_object() else {
        return false;
    };
    let text = |name| members.get(name).and_then(Value::as_str);
    let bytes = |name| text(name).and_then(decode);
    let length = |name| bytes(name).map(|bytes| bytes.len());
    let is_private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
        .iter()
        .any(|name| members.contains_key(*name));
    let is_for_signatures = members.get("use").is_none_or(|usage| usage == "sig")
        && members.get("key_ops").is_none_or(|operations| {
            let all = operations.as_array();
            all.is_some_and(|all| all.iter().any(|operation| operation == "verify"))
        });
    let has_id = members.get("kid").is_none_or(Value::is_string)
        && text("kid").is_none_or(|id| id.len() <= 1024);
    let (names, is_complete) = match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => (
            &["ES256"][..],
            length("x") == Some(32) && length("y") == Some(32),
        ),
        (Some("OKP"), Some("Ed25519")) => (&["EdDSA", "Ed25519"][..], length("x") == Some(32)),
        (Some("RSA"), _) => {
            let without_zeros = |name| {
                let bytes = bytes(name)?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                Some(bytes[zeros..].to_vec())
            };
            let bits = without_zeros("n").and_then(|n| {
                let first = *n.first()?;
                Some(8 * n.len() - first.leading_zeros() as usize)
            });
            let has_exponent = without_zeros("e").is_some_and(|e| (1..=5).contains(&e.len()));
            let is_size = bits.is_some_and(|bits| (2048..=8192).contains(&bits));
            (&["RS256"][..], has_exponent && is_size)
        }
        _ => return false,
    };
    let is_named = match members.get("alg") {
        None => true,
        Some(named) => named.as_str().is_some_and(|named| names.contains(&named)),
    };
    !is_private && is_for_signatures && has_id && is_complete && is_named
}

/// Reads an object of few levels in which names are unique.
fn object(json: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(json).ok()?;
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return None;
    };
    has_unique_names(text).then_some(members)
}

/// Scans valid JSON: strings that are followed by a colon are names.
fn has_unique_names(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut levels: Vec<BTreeSet<String>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => {
                levels.push(BTreeSet::new());
                if levels.len() > MAX_DEPTH {
                    return false;
                }
            }
            b'}' | b']' => drop(levels.pop()),
            b'"' => {
                let start = at;
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let is_name = text[at + 1..].trim_ascii_start().starts_with(':');
                let name = serde_json::from_str(&text[start..=at]).expect("a string");
                if is_name && !levels.last_mut().expect("an object").insert(name) {
                    return false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    true
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..=chunk.len() {
            text.push(char::from(
                ALPHABET[(group >> (18 - 6 * digit)) as usize % 64],
            ));
        }
    }
    text
}

/// Decodes what [`encode`] writes, and no other text.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|digit| *digit == byte)?;
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    (encode(&bytes) == text).then_some(bytes)
}
