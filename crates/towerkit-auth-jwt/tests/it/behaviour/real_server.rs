//! Issuers on the loopback interface, by the client of this project.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use towerkit_auth_jwt::{
    Algorithm, ClientCredentials, Jwks, JwksSource, Jwt, SigningKey, TokenError, TokenSource,
};

use crate::{
    keys::{ED25519_PRIVATE, ED25519_PUBLIC},
    tokens::{NOW, at, claims, encode, signed},
};

/// A server that answers each request with the next of its responses, or else with the last one.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(responses: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, accepted) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                let (seen, responses) = (Arc::clone(&seen), responses.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (seen, responses) = (Arc::clone(&seen), responses.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let mut seen = seen.lock().unwrap();
                        let authorization = head.headers.get("authorization");
                        seen.push(format!(
                            "{} {} {authorization:?} {}",
                            head.method,
                            head.uri,
                            String::from_utf8_lossy(&body)
                        ));
                        let (status, document) =
                            &responses[(seen.len() - 1).min(responses.len() - 1)];
                        let response = Response::builder().status(*status);
                        Ok::<_, hyper::Error>(
                            response
                                .body(Full::<Bytes>::from(document.to_string()))
                                .unwrap(),
                        )
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self {
            address,
            requests,
            connections,
        }
    }
}

fn key_set() -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let line = ED25519_PUBLIC.lines().nth(1).unwrap();
    let point = STANDARD.decode(line).unwrap()[12..].to_vec();
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": encode(point) }] })
}

#[tokio::test]
async fn keys_are_fetched_with_retries() {
    let server = Server::start(vec![(503, json!({})), (200, key_set())]).await;
    let source = JwksSource::url(format!("{}/jwks", server.address)).development();
    let jwks = Jwks::new(source, [Algorithm::EdDsa]).unwrap();
    jwks.load().await.unwrap();
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(requests, ["GET /jwks None ", "GET /jwks None "]);
    let key = SigningKey::pem(Algorithm::EdDsa, ED25519_PRIVATE.as_bytes()).unwrap();
    let token = key.id("a").sign(&claims()).unwrap();
    assert!(Jwt::new(jwks).clock(at(NOW)).verify(&token).await.is_ok());
}

/// JW-04, JW-05
#[tokio::test]
async fn a_header_of_a_token_causes_no_connection() {
    let server = Server::start(vec![(200, key_set())]).await;
    let canary = Server::start(vec![(200, key_set())]).await;
    let source = JwksSource::url(format!("{}/jwks", server.address)).development();
    let jwt = Jwt::new(Jwks::new(source, [Algorithm::EdDsa]).unwrap()).clock(at(NOW));
    let address = &canary.address;
    for algorithm in ["EdDsa", "EdDSA", "HS256"] {
        for name in ["jku", "x5u", "jwk", "x5c", "kid"] {
            for value in [
                json!(address),
                json!([address]),
                json!({ "jku": address, "k": "AAAA" }),
            ] {
                let header = json!({ "alg": algorithm, "kid": "a", name: value });
                let token = signed(b"secret", &header.to_string(), &claims().to_string());
                assert!(jwt.verify(&token).await.is_err());
            }
        }
    }
    assert_eq!(canary.connections.load(Ordering::SeqCst), 0);
    // The first load, and one for an unknown key.
    assert_eq!(server.requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_of_a_few_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let source = JwksSource::url(format!("http://{address}/jwks")).development();
    let jwks = Jwks::new(source, [Algorithm::EdDsa]).unwrap();
    let load = tokio::time::timeout(Duration::from_secs(60), jwks.load());
    let error = load.await.unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with("the keys could not be loaded: "),
        "{error}"
    );
    let verdict = Jwt::new(jwks)
        .verify(&signed(b"", r#"{"alg":"EdDSA"}"#, "{}"))
        .await;
    assert_eq!(verdict.map(drop), Err(TokenError::KeysUnavailable));
}

#[tokio::test]
async fn client_credentials_are_sent_as_the_standard_says() {
    let token = json!({ "access_token": "c4nary.b.c", "token_type": "Bearer", "expires_in": 60 });
    let server = Server::start(vec![(200, token)]).await;
    let endpoint = format!("{}/token", server.address);
    assert!(ClientCredentials::new(&endpoint, "id", "secret").is_err());
    let source = ClientCredentials::development(&endpoint, "a:b c", "p%:é").unwrap();
    let source = source.param("scope", "orders:read orders:write");
    let token = source.issue().await.unwrap();
    assert!(!format!("{token:?} {source:?}").contains("c4nary"));
    let requests = server.requests.lock().unwrap().clone();
    // `a%3Ab+c:p%25%3A%C3%A9`
    assert_eq!(
        requests,
        [
            "POST /token Some(\"Basic YSUzQWIrYzpwJTI1JTNBJUMzJUE5\") grant_type=client_credentials&scope=orders%3Aread+orders%3Awrite"
        ]
    );
}

#[tokio::test]
async fn a_refusal_of_the_token_endpoint_shows_no_secret() {
    let refusal = json!({ "error": "invalid_client", "error_description": "secret c4nary" });
    let server = Server::start(vec![(401, refusal)]).await;
    let source = ClientCredentials::development(&server.address, "id", "c4nary").unwrap();
    let error = source.issue().await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the token endpoint answers 401 Unauthorized: invalid_client"
    );
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}
