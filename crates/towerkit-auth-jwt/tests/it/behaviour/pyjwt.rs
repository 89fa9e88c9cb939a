//! PyJWT as the other side.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use serde_json::{Map, Value, json};
use towerkit_auth_jwt::{Algorithm, Jwt, Key, SigningKey, TokenError};

use crate::{keys::*, tokens::verify};

const CASES: usize = 10_000;

const SECRET: &str = "a secret of 64 bytes for tests with PyJWT, and of no use elsewhere";

/// One set of claims, and the expectations of a verifier.
struct Case {
    algorithm: Algorithm,
    claims: Value,
    audience: Option<&'static str>,
    issuer: Option<&'static str>,
    token: String,
    is_forged: bool,
}

/// Verdicts differ by design where PyJWT takes a text for a time, a negative `nbf`, a future `iat` or an empty `aud` for good, and are not
/// compared there.
#[test]
#[ignore = "needs PyJWT in the Python at TOWERKIT_PYTHON"]
fn verdicts_are_those_of_pyjwt_in_both_directions() {
    let python = std::env::var("TOWERKIT_PYTHON").expect("the path of a Python with PyJWT");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/extended/pyjwt.py");
    let mut rng = Rng::new();
    println!("seed {}", rng.get_seed());
    let cases: Vec<_> = (0..CASES).map(|_| Case::new(&mut rng)).collect();
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<_> = cases.iter().map(Case::line).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(input, "{line}").unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), CASES);

    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (case, answer) in cases.iter().zip(&answers) {
        let jwt = case.jwt();
        let own = verify(&jwt, &case.token).map(drop);
        let theirs = verify(&jwt, answer["token"].as_str().unwrap()).map(drop);
        assert_eq!(answer["valid"], own.is_ok(), "{}: {own:?}", case.line());
        if case.is_forged {
            assert_eq!(own, Err(TokenError::BadSignature), "{}", case.line());
        } else {
            assert_eq!(own, theirs, "{}: {}", case.line(), answer["token"]);
        }
        let verdict = own.map_or_else(|error| error.as_str().to_owned(), |()| "valid".to_owned());
        *counts.entry(verdict).or_default() += 1;
    }
    println!("{counts:?}");
    assert!(counts["valid"] > CASES / 10 && counts.len() >= 6);
}

impl Case {
    fn new(rng: &mut Rng) -> Self {
        let algorithms = [
            Algorithm::Hs256,
            Algorithm::Hs512,
            Algorithm::Rs256,
            Algorithm::Ps256,
            Algorithm::Es256,
            Algorithm::Es384,
            Algorithm::EdDsa,
        ];
        let algorithm = algorithms[rng.usize(..algorithms.len())];
        let audience = rng.bool().then_some("orders");
        let issuer = rng.bool().then_some("https://id.example");
        let claims = Value::Object(claims(rng, audience.is_some(), issuer.is_some()));
        let (private, _) = keys(algorithm);
        let key = match algorithm {
            Algorithm::Hs256 | Algorithm::Hs512 => {
                SigningKey::secret(algorithm, private.as_bytes())
            }
            _ => SigningKey::pem(algorithm, private.as_bytes()),
        };
        let mut token = key.unwrap().sign(&claims).unwrap();
        let is_forged = rng.u8(..20) == 0;
        if is_forged {
            // Another signature.
            let at = token.rfind('.').unwrap() + 3;
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            token.replace_range(at..=at, other);
        }
        Self {
            algorithm,
            claims,
            audience,
            issuer,
            token,
            is_forged,
        }
    }

    fn line(&self) -> Value {
        let (private, public) = keys(self.algorithm);
        json!({
            "algorithm": self.algorithm.as_str(),
            "private": private,
            "public": public,
            "claims": self.claims,
            "audience": self.audience,
            "issuer": self.issuer,
            "token": self.token,
        })
    }

    fn jwt(&self) -> Jwt {
        let (_, public) = keys(self.algorithm);
        let key = match self.algorithm {
            Algorithm::Hs256 | Algorithm::Hs512 => Key::secret(self.algorithm, public.as_bytes()),
            _ => Key::pem(self.algorithm, public.as_bytes()),
        };
        let mut jwt = Jwt::new(key.unwrap());
        if let Some(audience) = self.audience {
            jwt = jwt.audience(audience);
        }
        match self.issuer {
            Some(issuer) => jwt.issuer(issuer),
            None => jwt,
        }
    }
}

fn keys(algorithm: Algorithm) -> (&'static str, &'static str) {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs512 => (SECRET, SECRET),
        Algorithm::Es256 => (ES256_PRIVATE, ES256_PUBLIC),
        Algorithm::Es384 => (ES384_PRIVATE, ES384_PUBLIC),
        Algorithm::EdDsa => (ED25519_PRIVATE, ED25519_PUBLIC),
        _ => (RSA_PRIVATE, RSA_PUBLIC),
    }
}

/// Draws claims, most of which are valid.
fn claims(rng: &mut Rng, has_audience: bool, has_issuer: bool) -> Map<String, Value> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut claims = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    };
    // Minutes away, so that both sides see the same.
    let away = 600 + rng.u64(..1_000_000);
    put(
        "exp",
        match rng.u8(..20) {
            0 => None,
            1 => Some(json!(now - away)),
            2 => Some(json!((now - away) as f64 + 0.25)),
            3 => Some(json!(-1)),
            4 => Some(json!(null)),
            5 => Some(json!("soon")),
            6 => Some(json!([now + away])),
            7..10 => Some(json!((now + away) as f64 + 0.25)),
            _ => Some(json!(now + away)),
        },
    );
    put(
        "nbf",
        match rng.u8(..20) {
            0 => Some(json!(now + away)),
            1 => Some(json!((now + away) as f64 + 0.5)),
            2 => Some(json!(null)),
            3 => Some(json!({})),
            4..8 => Some(json!(now - away)),
            8 => Some(json!((now - away) as f64 + 0.5)),
            _ => None,
        },
    );
    put("iat", rng.bool().then(|| json!(now - away)));
    put(
        "sub",
        match rng.u8(..20) {
            0 => None,
            1 => Some(json!(7)),
            2 => Some(json!(["ann"])),
            _ => Some(json!(text(rng))),
        },
    );
    put(
        "jti",
        match rng.u8(..10) {
            0 => Some(json!(7)),
            1..5 => Some(json!(text(rng))),
            _ => None,
        },
    );
    let good_audiences = [
        json!("orders"),
        json!(["orders"]),
        json!(["billing", "orders"]),
    ];
    let bad_audiences = [
        json!("order"),
        json!(["billing"]),
        json!(["orders", 7]),
        json!(7),
    ];
    put(
        "aud",
        match (has_audience, rng.u8(..10)) {
            (true, 0) => None,
            (true, 3..) => Some(good_audiences[rng.usize(..3)].clone()),
            (false, 2..) => None,
            _ => Some(bad_audiences[rng.usize(..4)].clone()),
        },
    );
    put(
        "iss",
        match (has_issuer, rng.u8(..10)) {
            (true, 0) => None,
            (true, 1) => Some(json!("https://id.example/")),
            (true, 2) => Some(json!(["https://id.example"])),
            (true, _) => Some(json!("https://id.example")),
            (false, 0..5) => Some(json!(text(rng))),
            (false, _) => None,
        },
    );
    for _ in 0..rng.usize(..4) {
        put(&format!("x{}", text(rng)), Some(value(rng, 4)));
    }
    claims
}

fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.u8(..if depth == 0 { 5 } else { 7 }) {
        0 => json!(text(rng)),
        1 => json!(rng.i64(..)),
        2 => json!(rng.f64()),
        3 => json!(rng.bool()),
        4 => json!(null),
        5 => (0..rng.usize(..3)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            let members = (0..rng.usize(..3)).map(|_| (text(rng), value(rng, depth - 1)));
            Value::Object(members.collect())
        }
    }
}

fn text(rng: &mut Rng) -> String {
    (0..rng.usize(1..12)).map(|_| rng.char(..)).collect()
}
