//! Starts each recipe on a free port, and calls it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use tokio::{net::TcpListener, task::spawn_blocking};
use tonic::{Code, transport::Endpoint};
use tonic_app::{HelloRequest, greeter_client::GreeterClient};

/// A recipe that serves, in a process that ends with the test.
struct Server {
    child: Child,
    address: String,
    /// Stays open, so that the recipe can print.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut child = Command::new(program)
            .arg("127.0.0.1:0")
            .env("OTLP", "http://127.0.0.1:1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap();
        let address = address.to_owned();
        Self {
            child,
            address,
            _stdout: stdout,
        }
    }

    /// Sends a request with one header; returns the response with its head.
    fn send(&self, line: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{header}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    fn status(&self, line: &str, header: &str) -> String {
        self.send(line, header)[9..12].to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a recipe that is a client; returns its output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Serves a handler that fails the first request; returns the URL.
async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let failed = AtomicU32::new(0);
    let respond = move || {
        let is_first = failed.fetch_add(1, Ordering::Relaxed) == 0;
        std::future::ready(if is_first {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        })
    };
    let respond = std::sync::Arc::new(respond);
    let app = Router::new().route("/", get(move || respond()));
    tokio::spawn(axum::serve(listener, app).into_future());
    url
}

#[test]
fn each_api_key_has_its_own_limit() {
    let server = Server::start(env!("CARGO_BIN_EXE_rate-limit-by-api-key"));
    let statuses = ["ann", "ann", "ann", "bob"]
        .map(|key| server.status("GET /", &format!("x-api-key: {key}")));
    assert_eq!(statuses, ["200", "200", "429", "200"]);
}

#[test]
fn a_guard_rejects_calls_during_maintenance() {
    let server = Server::start(env!("CARGO_BIN_EXE_custom-guard"));
    assert_eq!(server.status("GET /", "a: b"), "200");
    assert_eq!(
        server.status("POST /maintenance", "content-length: 0"),
        "200"
    );
    let rejected = server.send("GET /", "a: b");
    assert!(rejected.starts_with("HTTP/1.1 503") && rejected.contains("retry-after: 60"));
}

#[test]
fn prometheus_scrapes_the_duration_of_requests() {
    let server = Server::start(env!("CARGO_BIN_EXE_prometheus"));
    assert_eq!(server.status("GET /hello/Ann", "a: b"), "200");
    let page = server.send("GET /metrics", "a: b");
    assert!(page.contains("http_server_request_duration_seconds_count"));
    assert!(page.contains("/hello/{name}"));
}

#[test]
fn a_trace_is_continued_without_a_collector() {
    let server = Server::start(env!("CARGO_BIN_EXE_opentelemetry"));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    assert!(server.send("GET /", &header).contains(trace));
}

#[test]
fn a_report_is_computed_once() {
    let server = Server::start(env!("CARGO_BIN_EXE_cache-and-coalesce"));
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| server.send("GET /report", "a: b")))
            .collect();
        for call in calls {
            assert!(call.join().unwrap().ends_with("report 1\n"));
        }
    });
    assert!(server.send("GET /report", "a: b").ends_with("report 1\n"));
}

#[cfg(unix)]
#[test]
fn sigterm_ends_the_server_with_code_0() {
    let mut server = Server::start(env!("CARGO_BIN_EXE_graceful-shutdown"));
    assert_eq!(server.status("GET /", "a: b"), "200");
    let pid = server.child.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(kill.unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_limit_rejects_http_and_grpc() {
    let server = Server::start(env!("CARGO_BIN_EXE_axum-and-tonic-on-one-port"));
    let url = format!("http://{}", server.address);
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut greeter = GreeterClient::new(channel);
    let name = || HelloRequest {
        name: "Ann".to_owned(),
    };
    assert_eq!(
        greeter.hello(name()).await.unwrap().into_inner().text,
        "hello, Ann"
    );
    let server = spawn_blocking(move || {
        let statuses = [(); 3].map(|()| server.status("GET /", "a: b"));
        assert_eq!(statuses, ["200", "200", "429"]);
        server
    });
    let _server = server.await.unwrap();
    let rejected = greeter.hello(name()).await.unwrap_err();
    assert_eq!(rejected.code(), Code::ResourceExhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_decide_over_http_and_grpc() {
    const ANN: &str = "Basic YW5uOm9wZW4gc2VzYW1l";
    const BOB: &str = "Basic Ym9iOm9wZW4gc2VzYW1l";
    let server = Server::start(env!("CARGO_BIN_EXE_roles-by-operation"));
    let url = format!("http://{}", server.address);
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut greeter = GreeterClient::new(channel);
    let hello = |credentials: Option<&'static str>| {
        let name = "Ann".to_owned();
        let mut request = tonic::Request::new(HelloRequest { name });
        if let Some(credentials) = credentials {
            let credentials = credentials.parse().unwrap();
            request.metadata_mut().insert("authorization", credentials);
        }
        request
    };
    let rejected = greeter.hello(hello(None)).await.unwrap_err();
    assert_eq!(rejected.code(), Code::Unauthenticated);
    let answer = greeter.hello(hello(Some(ANN))).await.unwrap();
    assert_eq!(answer.into_inner().text, "hello, ann");
    let statuses = spawn_blocking(move || {
        let authorization = |credentials| format!("authorization: {credentials}");
        [
            ("GET /healthz", "a: b".to_owned()),
            ("GET /orders", "a: b".to_owned()),
            ("GET /orders", authorization(ANN)),
            ("DELETE /orders", authorization(ANN)),
            ("DELETE /orders", authorization(BOB)),
        ]
        .map(|(request, header)| server.status(request, &header))
    });
    let expected = ["200", "401", "200", "403", "200"];
    assert_eq!(statuses.await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_retried() {
    let url = upstream().await;
    let program = env!("CARGO_BIN_EXE_timeout-and-retry-client");
    let output = spawn_blocking(move || run(program, &[&url])).await.unwrap();
    assert_eq!(output, "200 OK after 1 failed attempts\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn reqwest_retries_a_failed_attempt() {
    let url = upstream().await;
    let program = env!("CARGO_BIN_EXE_reqwest-client");
    let output = spawn_blocking(move || run(program, &[&url])).await.unwrap();
    assert_eq!(output, "200 OK\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_for_one_host_only() {
    let url = upstream().await;
    let program = env!("CARGO_BIN_EXE_circuit-breaker-per-host");
    let call = move || run(program, &["http://127.0.0.1:1/", &url]);
    let output = spawn_blocking(call).await.unwrap();
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[2].ends_with(" 503"), "{output}");
    assert!(lines[5].ends_with(" 200"), "{output}");
}
