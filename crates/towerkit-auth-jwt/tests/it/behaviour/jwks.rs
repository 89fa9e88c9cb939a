//! Keys that change, at an endpoint that may fail. Time is paused.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};
use tower::{Service, service_fn};
use towerkit_auth::{AuthError, VerifyToken};
use towerkit_auth_jwt::{Algorithm, Jwks, JwksSource, Jwt, Key, SigningKey, TokenError};
use towerkit_core::Event;
use towerkit_test::tokio_clock;

use crate::{
    keys::*,
    tokens::{NOW, at, claims, encode, with},
};

const URL: &str = "https://id.example/jwks";

/// The servers of the issuer.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    documents: HashMap<String, String>,
    requests: Vec<String>,
    status: Option<u16>,
    delay: Duration,
}

impl Issuer {
    fn with_keys(keys: &[Value]) -> Self {
        let issuer = Self::default();
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[Value]) {
        self.put(URL, json!({ "keys": keys }));
    }

    fn put(&self, url: &str, document: Value) {
        self.put_text(url, document.to_string());
    }

    fn put_text(&self, url: &str, document: String) {
        let mut state = self.0.lock().unwrap();
        state.documents.insert(url.to_owned(), document);
    }

    fn fail(&self, status: u16) {
        self.0.lock().unwrap().status = Some(status);
    }

    fn recover(&self) {
        self.0.lock().unwrap().status = None;
    }

    fn delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }

    fn client(
        &self,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = io::Error,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        let state = Arc::clone(&self.0);
        service_fn(move |request: Request<Full<Bytes>>| {
            let state = Arc::clone(&state);
            async move {
                let url = request.uri().to_string();
                let delay = {
                    let mut state = state.lock().unwrap();
                    state.requests.push(url.clone());
                    state.delay
                };
                sleep(delay).await;
                let state = state.lock().unwrap();
                if state.status == Some(0) {
                    return Err(io::Error::other("connection refused"));
                }
                let document = state.documents.get(&url).cloned();
                let status = state
                    .status
                    .unwrap_or(if document.is_some() { 200 } else { 404 });
                let mut response = Response::new(Full::from(document.unwrap_or_default()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
        })
    }

    fn jwks(&self) -> Jwks {
        self.jwks_from(JwksSource::url(URL))
    }

    fn jwks_from(&self, source: JwksSource) -> Jwks {
        let jwks = Jwks::new(source, [Algorithm::Es256, Algorithm::EdDsa]).unwrap();
        jwks.client(self.client()).clock(tokio_clock())
    }

    fn jwt(&self) -> Jwt {
        Jwt::new(self.jwks()).clock(at(NOW))
    }
}

fn point(pem: &str, length: usize) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let der = STANDARD.decode(lines.collect::<String>()).unwrap();
    der[der.len() - length..].to_vec()
}

fn es256(id: &str) -> Value {
    let point = point(ES256_PUBLIC, 64);
    json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": encode(&point[..32]), "y": encode(&point[32..]) })
}

fn ed25519(id: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(point(ED25519_PUBLIC, 32)) })
}

fn sign(id: &str) -> String {
    let key = SigningKey::pem(Algorithm::Es256, ES256_PRIVATE.as_bytes()).unwrap();
    key.id(id).sign(&claims()).unwrap()
}

async fn verdict(jwt: &Jwt, token: &str) -> Result<(), TokenError> {
    Jwt::verify(jwt, token).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn callers_share_the_first_load() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    issuer.delay(Duration::from_secs(1));
    let (jwt, token) = (issuer.jwt(), sign("a"));
    let results = join_all((0..100).map(|_| verdict(&jwt, &token))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_load() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    issuer.delay(Duration::from_secs(1));
    let (jwt, token) = (issuer.jwt(), sign("a"));
    let mut first = Box::pin(verdict(&jwt, &token));
    poll_fn(|cx| Poll::Ready(first.poll_unpin(cx).is_pending())).await;
    let second = verdict(&jwt, &token);
    drop(first);
    assert_eq!(second.await, Ok(()));
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_by_its_first_token() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let jwt = issuer.jwt();
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    issuer.publish(&[es256("a"), es256("b")]);
    assert_eq!(verdict(&jwt, &sign("b")).await, Ok(()));
    assert_eq!(issuer.requests(), 2);
}

/// JW-04
#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_one_load_in_five_minutes() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let jwt = issuer.jwt();
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    assert_eq!(issuer.requests(), 1);
    let unknown: Vec<_> = (0..100).map(|n| sign(&n.to_string())).collect();
    let start = Instant::now();
    // 10,000 tokens, in four minutes.
    for _ in 0..100 {
        for token in &unknown {
            assert_eq!(verdict(&jwt, token).await, Err(TokenError::UnknownKey));
        }
        advance(Duration::from_millis(2400)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(300));
    assert_eq!(issuer.requests(), 2);
    // A valid caller is served meanwhile.
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    advance(Duration::from_secs(60)).await;
    assert_eq!(
        verdict(&jwt, &unknown[0]).await,
        Err(TokenError::UnknownKey)
    );
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_names_no_key_or_another_algorithm_causes_no_load() {
    let issuer = Issuer::with_keys(&[es256("a"), ed25519("b")]);
    let jwt = issuer.jwt();
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    let hs256 = crate::tokens::signed(b"x", r#"{"alg":"HS256","kid":"z"}"#, "{}");
    let error = TokenError::UnexpectedAlgorithm;
    assert_eq!(verdict(&jwt, &hs256).await, Err(error));
    let key = SigningKey::pem(Algorithm::Es256, ES256_PRIVATE.as_bytes()).unwrap();
    // The only key of its algorithm is meant.
    assert_eq!(verdict(&jwt, &key.sign(&claims()).unwrap()).await, Ok(()));
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_callers_that_wait_for_a_load_are_bounded() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let jwt = issuer.jwt();
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    issuer.delay(Duration::from_secs(5));
    let unknown = sign("z");
    let start = Instant::now();
    let mut waiting: Vec<_> = (0..2000)
        .map(|_| Box::pin(verdict(&jwt, &unknown)))
        .collect();
    let mut refused = 0;
    for call in &mut waiting {
        refused += usize::from(call.now_or_never().is_some());
    }
    assert_eq!(refused, 2000 - 1024);
    assert_eq!(start.elapsed(), Duration::ZERO);
    // The cached one needs no load.
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    drop(waiting);
    assert_eq!(verdict(&jwt, &unknown).await, Err(TokenError::UnknownKey));
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_are_loaded_again_in_the_background() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let (jwt, token) = (issuer.jwt(), sign("a"));
    assert_eq!(verdict(&jwt, &token).await, Ok(()));
    issuer.delay(Duration::from_secs(3));
    advance(Duration::from_secs(599)).await;
    assert_eq!(verdict(&jwt, &token).await, Ok(()));
    assert_eq!(issuer.requests(), 1);
    advance(Duration::from_secs(1)).await;
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(verdict(&jwt, &token).await, Ok(()));
        tokio::task::yield_now().await;
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_refused_at_once_after_the_load_also_for_known_tokens() {
    let issuer = Issuer::with_keys(&[es256("a"), ed25519("b")]);
    let jwks = issuer.jwks();
    let jwt = Jwt::new(jwks.clone()).clock(at(NOW));
    let token = sign("a");
    for _ in 0..3 {
        assert_eq!(verdict(&jwt, &token).await, Ok(()));
    }
    issuer.publish(&[ed25519("b")]);
    jwks.load().await.unwrap();
    let start = Instant::now();
    assert_eq!(verdict(&jwt, &token).await, Err(TokenError::UnknownKey));
    assert!(start.elapsed() < Duration::from_secs(1));
    // It may come back.
    issuer.publish(&[ed25519("b"), es256("a")]);
    jwks.load().await.unwrap();
    assert_eq!(verdict(&jwt, &token).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_names_another_key_now_does_not_name_the_one_before() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let jwks = issuer.jwks();
    let jwt = Jwt::new(jwks.clone()).clock(at(NOW));
    let token = sign("a");
    assert_eq!(verdict(&jwt, &token).await, Ok(()));
    let mut other = es256("a");
    // A point that is on no curve: the signature is not valid, whatever the token.
    other["y"] = json!(encode([1; 32]));
    issuer.publish(&[other]);
    jwks.load().await.unwrap();
    assert_eq!(verdict(&jwt, &token).await, Err(TokenError::BadSignature));
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_while_the_endpoint_fails() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let jwt = issuer.jwt().cached_tokens(0);
    let token = sign("a");
    assert_eq!(verdict(&jwt, &token).await, Ok(()));
    for status in [0, 500, 404, 302, 204] {
        issuer.fail(status);
        for _ in 0..100 {
            advance(Duration::from_secs(60)).await;
            assert_eq!(verdict(&jwt, &token).await, Ok(()));
            tokio::task::yield_now().await;
        }
    }
    issuer.recover();
    for document in [
        json!({}),
        json!({ "keys": [] }),
        json!([]),
        json!({ "keys": {} }),
        json!({ "keys": [{}] }),
    ] {
        issuer.put(URL, document);
        advance(Duration::from_secs(600)).await;
        assert_eq!(verdict(&jwt, &token).await, Ok(()));
        tokio::task::yield_now().await;
    }
    assert!(issuer.requests() > 100);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_delays_no_caller_longer_than_15_seconds() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    issuer.delay(Duration::from_secs(3600));
    let jwt = issuer.jwt();
    let start = Instant::now();
    assert_eq!(
        verdict(&jwt, &sign("a")).await,
        Err(TokenError::KeysUnavailable)
    );
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    // Callers after it fail at once, and are told when to come again.
    assert_eq!(
        verdict(&jwt, &sign("a")).await,
        Err(TokenError::KeysUnavailable)
    );
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    issuer.delay(Duration::ZERO);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_keys_the_call_is_unavailable_and_not_unauthenticated() {
    let issuer = Issuer::default();
    let jwt = issuer.jwt();
    let error: AuthError = match VerifyToken::verify(&jwt, &sign("a")).unwrap() {
        towerkit_core::Admission::Later(wait) => wait.await.unwrap_err(),
        towerkit_core::Admission::Now(_) => panic!("there are no keys"),
    };
    assert!(!error.is_invalid() && !error.is_missing());
    assert_eq!(error.cause(), "keys_unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_program_can_load_the_keys_at_its_start() {
    let issuer = Issuer::default();
    let jwks = issuer.jwks();
    let error = jwks.load().await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the keys could not be loaded: the status of /jwks is 404 Not Found"
    );
    issuer.publish(&[es256("a")]);
    jwks.load().await.unwrap();
    let verdict = Jwt::new(jwks)
        .clock(at(NOW))
        .verify(&sign("a"))
        .now_or_never();
    assert!(verdict.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_of_no_use_are_skipped() {
    let member = |name: &str, value: Value| {
        let mut key = es256("a");
        key[name] = value;
        key
    };
    let long = encode([1; 33]);
    let useless = [
        member("use", json!("enc")),
        member("use", json!(7)),
        member("key_ops", json!(["sign"])),
        member("key_ops", json!("verify")),
        member("alg", json!("ES384")),
        member("alg", json!("none")),
        member("alg", json!("HS256")),
        member("alg", json!(7)),
        member("kid", json!(7)),
        member("kid", json!("k".repeat(1025))),
        member("crv", json!("P-384")),
        member("crv", json!("secp256k1")),
        member("kty", json!("OKP")),
        member("x", json!("")),
        member("x", json!(long)),
        member("x", json!("A A=")),
        member("x", json!(null)),
        member("d", json!(encode([1; 32]))),
        member("k", json!("AAAA")),
        json!({ "kty": "oct", "kid": "a", "k": encode([1; 32]) }),
        json!({ "kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB" }),
        json!(7),
        json!(null),
    ];
    for key in useless {
        let issuer = Issuer::with_keys(&[key.clone(), ed25519("b")]);
        let verdict = verdict(&issuer.jwt(), &sign("a")).await;
        assert!(
            matches!(
                verdict,
                Err(TokenError::UnknownKey | TokenError::UnexpectedAlgorithm)
            ),
            "{key}: {verdict:?}"
        );
        let alone = Issuer::with_keys(std::slice::from_ref(&key));
        assert!(alone.jwks().load().await.is_err(), "{key}");
    }
    for key in [
        member("use", json!("sig")),
        member("key_ops", json!(["encrypt", "verify"])),
        member("alg", json!("ES256")),
        member("x5c", json!(["AAAA"])),
        member("x5u", json!("https://elsewhere.example")),
        member("other", json!({ "a": [1] })),
    ] {
        let issuer = Issuer::with_keys(&[json!(7), key]);
        assert_eq!(verdict(&issuer.jwt(), &sign("a")).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_is_bounded() {
    let issuer = Issuer::default();
    let keys = |count: usize| {
        let keys = (0..count).map(|n| es256(&n.to_string()));
        keys.collect::<Vec<_>>()
    };
    issuer.publish(&keys(100));
    issuer.jwks().load().await.unwrap();
    issuer.publish(&keys(101));
    let error = issuer.jwks().load().await.unwrap_err().to_string();
    assert!(error.contains("more than 100 keys"), "{error}");
    issuer.put(
        URL,
        json!({ "keys": [es256("a")], "a": "x".repeat(1 << 18) }),
    );
    let error = issuer.jwks().load().await.unwrap_err().to_string();
    assert!(error.contains("length limit"), "{error}");
    issuer.put_text(URL, r#"{"keys":[],"keys":[]}"#.to_owned());
    assert!(issuer.jwks().load().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_found_by_its_issuer() {
    let issuer = Issuer::with_keys(&[es256("a")]);
    let configuration = "https://id.example/realms/a/.well-known/openid-configuration";
    issuer.put(
        configuration,
        json!({ "issuer": "https://id.example/realms/a/", "jwks_uri": URL }),
    );
    let jwks = issuer.jwks_from(JwksSource::provider("https://id.example/realms/a/"));
    jwks.load().await.unwrap();
    assert_eq!(issuer.0.lock().unwrap().requests, [configuration, URL]);
    // Its tokens are by that issuer.
    let jwt = Jwt::new(jwks).clock(at(NOW));
    let key = SigningKey::pem(Algorithm::Es256, ES256_PRIVATE.as_bytes()).unwrap();
    let by = |issuer: &str| key.sign(&with(json!({ "iss": issuer }))).unwrap();
    assert_eq!(
        verdict(&jwt, &by("https://id.example/realms/a/")).await,
        Ok(())
    );
    let error = TokenError::WrongIssuer;
    assert_eq!(
        verdict(&jwt, &by("https://id.example/realms/a")).await,
        Err(error)
    );

    for document in [
        json!({ "issuer": "https://id.example/realms/a", "jwks_uri": URL }),
        json!({ "issuer": "https://evil.example", "jwks_uri": URL }),
        json!({ "jwks_uri": URL }),
        json!({ "issuer": "https://id.example/realms/a/" }),
        json!({ "issuer": "https://id.example/realms/a/", "jwks_uri": "http://id.example/jwks" }),
        json!({ "issuer": "https://id.example/realms/a/", "jwks_uri": "file:///etc/passwd" }),
    ] {
        issuer.put(configuration, document);
        let jwks = issuer.jwks_from(JwksSource::provider("https://id.example/realms/a/"));
        assert!(jwks.load().await.is_err());
    }
}

#[test]
fn a_file_of_keys_is_read_when_it_is_set_and_again_later() {
    let path = std::env::temp_dir().join(format!("towerkit-jwks-{}.json", std::process::id()));
    let write = |keys: Value| std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let open = || Jwks::new(JwksSource::file(&path), [Algorithm::Es256]);
    std::fs::remove_file(&path).ok();
    assert!(open().unwrap_err().to_string().contains("a file of keys"));
    write(json!([{ "kty": "oct", "k": "AAAA" }]));
    assert!(open().unwrap_err().to_string().contains("a private key"));
    write(json!([es256("a")]));
    let jwks = open().unwrap();
    let jwt = Jwt::new(jwks.clone()).clock(at(NOW));
    // It needs no runtime.
    assert!(jwt.verify(&sign("a")).now_or_never().unwrap().is_ok());
    write(json!([es256("b")]));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(verdict(&jwt, &sign("b")).await, Ok(()));
        assert_eq!(verdict(&jwt, &sign("a")).await, Err(TokenError::UnknownKey));
        std::fs::remove_file(&path).unwrap();
        assert!(jwks.load().await.is_err());
        assert_eq!(verdict(&jwt, &sign("b")).await, Ok(()));
    });
}

#[test]
fn without_a_runtime_there_are_no_keys_and_no_panic() {
    let jwt = Issuer::with_keys(&[es256("a")]).jwt();
    let verdict = jwt.verify(&sign("a")).now_or_never().unwrap();
    assert_eq!(verdict.map(drop), Err(TokenError::KeysUnavailable));
}

#[tokio::test(start_paused = true)]
async fn changes_and_failures_are_reported_without_keys_and_tokens() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let issuer = Issuer::with_keys(&[es256("a"), json!({ "kty": "oct", "k": "c4nary" })]);
    let events = Arc::clone(&seen);
    let jwks = issuer
        .jwks()
        .name("id.example")
        .events(move |event: &Event| {
            if let Event::Other {
                name,
                event,
                message,
                ..
            } = event
            {
                events
                    .lock()
                    .unwrap()
                    .push(format!("{name} {event}: {message}"));
            }
            panic!("a sink that panics disturbs no load");
        });
    let jwt = Jwt::new(jwks.clone()).clock(at(NOW));
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    jwks.load().await.unwrap();
    issuer.fail(500);
    jwks.load().await.unwrap_err();
    assert_eq!(verdict(&jwt, &sign("a")).await, Ok(()));
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "id.example keys_changed: 1 usable keys, 1 skipped: the first is a private key",
            "id.example load_failed: the status of /jwks is 500 Internal Server Error",
        ]
    );
}

#[test]
fn wrong_settings_are_errors() {
    let new =
        |algorithms: &[Algorithm]| Jwks::new(JwksSource::url(URL), algorithms.iter().copied());
    assert!(new(&[]).is_err());
    assert!(new(&[Algorithm::Es256, Algorithm::Hs256]).is_err());
    assert!(Jwks::new(JwksSource::url("http://id.example"), [Algorithm::Es256]).is_err());
    let with_password = JwksSource::url("https://ann:c4nary@id.example");
    let error = Jwks::new(with_password, [Algorithm::Es256]).unwrap_err();
    assert!(!error.to_string().contains("c4nary"), "{error}");
    let jwks = || new(&[Algorithm::Es256]).unwrap();
    assert!(jwks().refresh_interval(Duration::ZERO).is_err());
    assert!(jwks().unknown_key_interval(Duration::MAX).is_err());
    let jwk = ed25519("a").to_string();
    assert!(Key::jwk(Algorithm::EdDsa, jwk.as_bytes()).is_ok());
    assert!(Key::jwk(Algorithm::Es256, jwk.as_bytes()).is_err());
    assert!(Key::jwk(Algorithm::Es256, b"[]").is_err());
}

/// A key without `alg` is for one algorithm: the token does not choose it.
#[tokio::test(start_paused = true)]
async fn an_rsa_key_without_an_algorithm_is_used_for_the_only_one() {
    let rsa = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let lines = RSA_PUBLIC.lines().filter(|line| !line.starts_with('-'));
        let der = STANDARD.decode(lines.collect::<String>()).unwrap();
        // The modulus has 256 bytes, and is followed by the exponent.
        let n = &der[der.len() - 5 - 256..der.len() - 5];
        json!({ "kty": "RSA", "kid": "a", "n": encode(n), "e": "AQAB" })
    };
    let issuer = Issuer::with_keys(&[rsa]);
    let jwks = |algorithms: &[Algorithm]| {
        let jwks = Jwks::new(JwksSource::url(URL), algorithms.iter().copied()).unwrap();
        jwks.client(issuer.client())
    };
    let sign = |algorithm| {
        let key = SigningKey::pem(algorithm, RSA_PRIVATE.as_bytes()).unwrap();
        key.id("a").sign(&claims()).unwrap()
    };
    let rs256 = Jwt::new(jwks(&[Algorithm::Rs256, Algorithm::Es256])).clock(at(NOW));
    assert_eq!(verdict(&rs256, &sign(Algorithm::Rs256)).await, Ok(()));
    let error = TokenError::UnexpectedAlgorithm;
    assert_eq!(verdict(&rs256, &sign(Algorithm::Ps256)).await, Err(error));
    let error = jwks(&[Algorithm::Rs256, Algorithm::Ps256])
        .load()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("without `alg`"), "{error}");
}
