//! An OpenID provider as the issuer: `oidc-provider` on Node.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_auth_jwt::{
    AccessTokenLayer, Algorithm, ClientCredentials, Jwks, JwksSource, Jwt, TokenError,
};
use towerkit_http::HttpExt;

/// A provider that is killed when it is dropped.
struct Provider(Child);

impl Provider {
    fn start(port: u16, key_id: &str) -> Self {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/extended/oidc-provider.mjs"
        );
        let mut child = Command::new("node")
            .args([script, &port.to_string(), key_id])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_ready = lines.any(|line| line.unwrap() == "ready");
        let provider = Self(child);
        assert!(is_ready, "the provider does not start");
        provider
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Obtains a token by a client of its own.
async fn obtain(issuer: &str) -> String {
    let endpoint = format!("{issuer}/token");
    let source = ClientCredentials::development(&endpoint, "billing", "secret:with colon").unwrap();
    let source = source
        .param("resource", "urn:orders")
        .param("scope", "orders:read");
    let client = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(drop))
        .layer(AccessTokenLayer::new(source).http())
        .service_fn(async |request: Request<()>| {
            let mut response = Response::new(Full::<Bytes>::default());
            let sent = request.headers()["authorization"].clone();
            response.headers_mut().insert("sent", sent);
            Ok::<_, Infallible>(response)
        });
    let response = client.oneshot(Request::new(())).await.unwrap();
    let sent = response.headers()["sent"].to_str().unwrap();
    sent.strip_prefix("Bearer ").unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs node, and oidc-provider in the folder at OIDC_PROVIDER"]
async fn tokens_of_a_provider_are_valid_while_it_is_killed_and_changes_its_key() {
    assert!(std::env::var_os("OIDC_PROVIDER").is_some(), "OIDC_PROVIDER");
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let issuer = format!("http://127.0.0.1:{port}");
    let provider = Provider::start(port, "first");
    let source = JwksSource::provider(&issuer).development();
    let keys = Jwks::new(source, [Algorithm::Es256]).unwrap();
    let keys = keys.unknown_key_interval(Duration::from_secs(1)).unwrap();
    keys.load().await.unwrap();
    let jwt = Jwt::new(keys.clone())
        .audience("orders")
        .token_type("at+jwt");

    let first = obtain(&issuer).await;
    let caller = jwt.verify(&first).await.unwrap();
    assert_eq!(caller.issuer(), Some(&*issuer));
    assert!(caller.has_scope("orders:read"));
    let other = Jwt::new(keys.clone()).audience("billing");
    assert_eq!(
        other.verify(&first).await.map(drop),
        Err(TokenError::WrongAudience)
    );

    drop(provider);
    assert!(keys.load().await.is_err());
    let uncached = Jwt::new(keys.clone()).audience("orders").cached_tokens(0);
    for jwt in [&jwt, &uncached] {
        assert!(jwt.verify(&first).await.is_ok());
    }

    let _provider = Provider::start(port, "second");
    let second = obtain(&issuer).await;
    assert!(jwt.verify(&second).await.is_ok());
    for jwt in [&jwt, &uncached] {
        assert_eq!(
            jwt.verify(&first).await.map(drop),
            Err(TokenError::UnknownKey)
        );
    }
}
