//! The client of registries that speak HTTP, against servers that misbehave.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::any,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};
use towerkit_discovery::{RegistryClient, RegistryRequest};
use towerkit_server::{Server, Tls, TlsListener};

/// A server that ends with the test.
struct TestServer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl TestServer {
    async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request) -> R + Clone + Send + Sync + 'static,
        R: Future<Output: IntoResponse> + Send,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let app = Router::new().fallback(any(async move |request: Request| {
            count.fetch_add(1, SeqCst);
            answer(request).await.into_response()
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async { axum::serve(listener, app).await.unwrap() }).abort_handle();
        Self {
            address,
            requests,
            task,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn client(urls: &[String]) -> RegistryClient {
    RegistryClient::new(urls).unwrap()
}

fn get(path: &'static str) -> RegistryRequest {
    RegistryRequest::new(Method::GET, [path])
}

/// The URL of a port at which no server is.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_request_goes_to_the_next_server_and_later_ones_stay_there() {
    let failing =
        TestServer::start(async |_| (StatusCode::INTERNAL_SERVER_ERROR, "no leader")).await;
    let server = TestServer::start(async |request: Request| request.uri().to_string()).await;
    let client = client(&[
        nowhere().await,
        failing.url(),
        format!("{}/base/", server.url()),
    ]);
    let start = Instant::now();
    let response = client.send(get("a b").query("q", "ä&=")).await.unwrap();
    assert_eq!(response.text(), "/base/a%20b?q=%C3%A4%26%3D");
    // Two failures, after each of which half a second passes.
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    for _ in 0..10 {
        client.send(get("a")).await.unwrap();
    }
    assert_eq!((failing.requests(), server.requests()), (1, 11));
}

/// SD-01
#[tokio::test]
async fn all_that_share_a_client_send_two_requests_a_second_while_they_fail() {
    let is_down = Arc::new(AtomicUsize::new(1));
    let down = is_down.clone();
    let server = TestServer::start(move |_| {
        let is_down = down.load(SeqCst) == 1;
        async move {
            if is_down {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            }
        }
    })
    .await;
    let client = client(&[server.url()]);
    assert!(client.send(get("first")).await.is_err());
    let mut loops = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        loops.spawn(async move { while client.send(get("a")).await.is_err() {} });
    }
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let sent = server.requests() - 1;
    let most = 2.0 * start.elapsed().as_secs_f64() + 1.0;
    assert!((2.0..=most).contains(&(sent as f64)), "{sent} of {most}");
    is_down.store(0, SeqCst);
    let start = Instant::now();
    loops.join_all().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_the_timeout_and_a_long_poll_its_wait_more() {
    let server = TestServer::start(async |_| pending::<()>().await).await;
    let client = client(&[server.url()])
        .timeout(Duration::from_millis(100))
        .unwrap();
    let start = Instant::now();
    let error = client.send(get("a")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} did not answer within 100ms", server.url())
    );
    assert!(!error.is_refusal());
    assert!(start.elapsed() < Duration::from_secs(5));
    let start = Instant::now();
    let poll = get("a").wait(Duration::from_millis(700));
    assert!(client.send(poll).await.is_err());
    assert!(start.elapsed() >= Duration::from_millis(800));
}

/// SD-12
#[tokio::test]
async fn hostile_answers_are_errors() {
    let server = TestServer::start(async |request: Request| match request.uri().path() {
        "/huge" => Body::from(vec![b' '; 16 * 1024 * 1024 + 1]),
        "/endless" => Body::from_stream(futures_util::stream::repeat(Ok::<
            _,
            std::convert::Infallible,
        >("[".repeat(65_536)))),
        "/deep" => Body::from("[".repeat(10_000)),
        "/utf8" => Body::from(vec![b'"', 0xff, b'"']),
        "/shape" => Body::from(r#"{"secret": 1}"#),
        path => panic!("{path}"),
    })
    .await;
    let client = client(&[server.url()]);
    for path in ["huge", "endless"] {
        let error = client.send(get(path)).await.unwrap_err();
        assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
        assert!(error.is_refusal());
    }
    for (path, expected) in [
        ("deep", "no JSON"),
        ("utf8", "no JSON"),
        ("shape", "another shape"),
    ] {
        let response = client.send(get(path)).await.unwrap();
        let error = response.json::<Vec<Value>>().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.is_refusal());
    }
}

/// SD-16
#[tokio::test]
async fn secrets_are_sent_and_appear_in_no_error_and_no_debug_output() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let headers = seen.clone();
    let server = TestServer::start(move |request: Request| {
        let token = request.headers()["x-token"].to_str().unwrap().to_owned();
        let auth = request.headers()[header::AUTHORIZATION]
            .to_str()
            .unwrap()
            .to_owned();
        let echo = format!("not allowed: {token} {auth} pass-canary\nsecond line");
        headers.lock().unwrap().extend([token, auth]);
        async move { (StatusCode::FORBIDDEN, echo) }
    })
    .await;
    let client = client(&[server.url()])
        .secret_header("x-token", "token-canary")
        .unwrap()
        .basic_auth("user", "pass-canary")
        .unwrap();
    let response = client.send(get("a")).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        ["token-canary", "Basic dXNlcjpwYXNzLWNhbmFyeQ=="]
    );
    let shown = format!("{client:?} {response:?} {:?}", get("a"));
    let error = response.success().unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::FORBIDDEN));
    assert!(error.is_refusal());
    let shown = format!("{shown} {error} {error:?}");
    assert!(
        !shown.contains("canary") && !shown.contains("dXNl"),
        "{shown}"
    );
    assert!(
        error
            .to_string()
            .ends_with("answered 403: not allowed: … Basic … …"),
        "{error}"
    );
    for error in [
        RegistryClient::new(["http://user:canary@host"]).unwrap_err(),
        RegistryClient::new(["http://user:canary@ho st"]).unwrap_err(),
        client
            .clone()
            .secret_header("x-token", "canary\n")
            .unwrap_err(),
        client
            .clone()
            .basic_auth("user", "canary")
            .and_then(|_| client.basic_auth("a:b", "canary"))
            .unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[test]
fn a_url_has_a_scheme_a_host_and_perhaps_a_path() {
    for url in [
        "",
        "host",
        "host:1",
        "/path",
        "ftp://host",
        "http://",
        "http://host?x=y",
        "unix:/run/x",
        "http://a@b",
    ] {
        assert!(RegistryClient::new([url]).is_err(), "{url}");
    }
    assert!(RegistryClient::new([""; 0]).is_err());
    for url in ["http://host", "https://host:1/path/", "http://[::1]:80"] {
        assert!(RegistryClient::new([url]).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn a_status_of_500_that_is_expected_is_a_response() {
    let server = TestServer::start(async |request: Request| {
        let body: Value = serde_json::from_slice(
            &axum::body::to_bytes(request.into_body(), 100)
                .await
                .unwrap(),
        )
        .unwrap();
        (StatusCode::INTERNAL_SERVER_ERROR, Json(body))
    })
    .await;
    let client = client(&[server.url()]);
    let request = get("a").json(&json!({"a": 1})).unwrap();
    let error = client.send(request.clone()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
    let response = client
        .send(request.expect(StatusCode::INTERNAL_SERVER_ERROR))
        .await
        .unwrap();
    assert_eq!(response.json::<Value>().unwrap(), json!({"a": 1}));
    assert!(response.header("content-type").unwrap().contains("json"));
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Returns a chain and its key.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn servers_with_a_private_authority_and_client_certificates_are_reached() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (chain, key) = authority.issue();
    let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes())
        .unwrap()
        .required_client_certificates(clients.certificate.as_bytes())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(any(async || "hello"));
    let task =
        tokio::spawn(Server::new().serve(TlsListener::new(listener, tls), app, pending::<()>()));

    let client = client(&[format!("https://localhost:{port}")]);
    let error = client.send(get("a")).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let client = client
        .authorities(authority.certificate.as_bytes())
        .unwrap();
    assert!(client.send(get("a")).await.is_err());
    let (chain, key) = clients.issue();
    let client = client
        .client_certificate(chain.as_bytes(), key.as_bytes())
        .unwrap();
    assert_eq!(client.send(get("a")).await.unwrap().text(), "hello");

    let (_, other_key) = clients.issue();
    for error in [
        client
            .clone()
            .client_certificate(chain.as_bytes(), other_key.as_bytes())
            .unwrap_err(),
        client
            .clone()
            .client_certificate(b"", key.as_bytes())
            .unwrap_err(),
        client
            .clone()
            .client_certificate(chain.as_bytes(), b"")
            .unwrap_err(),
        client.clone().authorities(b"no PEM").unwrap_err(),
        client.authorities(b"").unwrap_err(),
    ] {
        assert!(error.to_string().starts_with("invalid "), "{error}");
    }
    task.abort();
}
