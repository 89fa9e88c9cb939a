//! What the service answers over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use axum::routing::post_service;
use clap::Parser;
use serde_json::Value;
use stringsvc::Args;
use stringsvc::MAX_BODY;
use stringsvc::Strings;
use stringsvc::app;
use stringsvc::routes;
use towerkit::endpoint::RpcError;
use towerkit::endpoint::endpoint_fn;
use towerkit::metrics::Registry;
use towerkit::transport_http::Json;
use towerkit::transport_http::serve as serve_endpoint;

use towerkit_programs::Client;
use towerkit_programs::Response;
use towerkit_programs::head;

/// Serves the application, and a few routes that are never shipped, until the tests end.
fn start(flags: &[&str]) -> SocketAddr {
    let args = Args::parse_from([&["stringsvc"], flags].concat());
    let panics = endpoint_fn((), |(), ()| panics());
    let routes = routes(Arc::new(Strings))
        .route(
            "/panic",
            post_service(serve_endpoint("panic", Json, panics)),
        )
        .route("/stuck", post(std::future::pending::<()>));
    let app = app(routes, &args, &Registry::new()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener, app));
    addr
}

#[tokio::main(flavor = "current_thread")]
async fn serve(listener: std::net::TcpListener, app: Router) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    axum::serve(listener, app).await.unwrap();
}

async fn panics() -> Result<(), RpcError> {
    panic!("a secret");
}

fn client(flags: &[&str]) -> Client {
    Client::connect(start(flags)).unwrap()
}

fn assert_problem(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status);
    assert_eq!(response.headers["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(problem["status"], status);
    for internal in ["secret", "src/", "stringsvc", "StringRequest"] {
        assert!(!response.body.contains(internal), "{}", response.body);
    }
    problem
}

/// A1.1, A1.2
#[test]
fn strings_are_made_upper_case_and_counted() {
    let mut client = client(&[]);
    let response = client.post("/uppercase", r#"{"s":"hello, world"}"#);
    assert_eq!(response.status, 200);
    assert_eq!(response.headers["content-type"], "application/json");
    assert_eq!(response.body, r#"{"v":"HELLO, WORLD"}"#);
    let response = client.post("/count", r#"{"s":"hello, world"}"#);
    assert_eq!(response.body, r#"{"v":12}"#);
}

/// A1.3
#[test]
fn a_business_error_is_a_200_that_says_so() {
    let response = client(&[]).post("/uppercase", r#"{"s":""}"#);
    assert_eq!(response.status, 200);
    assert_eq!(response.body, r#"{"v":"","err":"empty string"}"#);
}

/// A1.4
#[test]
fn a_bad_body_is_a_400() {
    let mut client = client(&[]);
    for (body, detail) in [
        ("not json", "malformed JSON: line 1, column 2"),
        (
            "",
            "not the JSON that this operation takes: line 1, column 4",
        ),
        (r#"{"s":"x"} more"#, "malformed JSON: line 1, column 11"),
        (
            "{}",
            "not the JSON that this operation takes: line 1, column 2",
        ),
        (
            r#"{"s":1}"#,
            "not the JSON that this operation takes: line 1, column 6",
        ),
        (
            "3",
            "not the JSON that this operation takes: line 1, column 1",
        ),
    ] {
        let response = client.post("/uppercase", body);
        assert_eq!(assert_problem(&response, 400)["detail"], detail, "{body}");
    }
    let response = client.send("POST", "/count", &[], b"{\"s\":\"\xff\"}");
    assert_problem(&response, 400);
}

/// A1.4
#[test]
fn any_content_type_is_read_as_json() {
    let mut client = client(&[]);
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "text/plain")],
    ] {
        let response = client.send("POST", "/count", headers, br#"{"s":"four"}"#);
        assert_eq!(response.body, r#"{"v":4}"#);
    }
}

/// A1.4
#[test]
fn a_wrong_verb_is_a_405_that_says_what_is_allowed() {
    let mut client = client(&[]);
    for (method, path, allowed) in [
        ("GET", "/uppercase", "POST"),
        ("PUT", "/count", "POST"),
        ("POST", "/metrics", "GET,HEAD"),
        ("DELETE", "/healthz", "GET,HEAD"),
    ] {
        let response = client.send(method, path, &[], b"");
        assert_problem(&response, 405);
        assert_eq!(response.headers["allow"], allowed);
    }
}

/// A1.4
#[test]
fn an_unknown_path_is_a_404() {
    let mut client = client(&[]);
    for path in ["/", "/nope", "/uppercase/more", "/%ff"] {
        assert_problem(&client.get(path), 404);
    }
}

/// A1.4
#[test]
fn a_body_of_a_mebibyte_is_read_and_a_longer_one_is_a_413() {
    let addr = start(&[]);
    let body = |length: usize| format!(r#"{{"s":"{}"}}"#, "x".repeat(length - 8));
    let mut client = Client::connect(addr).unwrap();
    let response = client.post("/count", &body(MAX_BODY));
    assert_eq!(response.body, r#"{"v":1048568}"#);

    let response = client.post("/count", &body(MAX_BODY + 1));
    assert_eq!(
        assert_problem(&response, 413)["detail"],
        "the body has more than 1048576 bytes"
    );
}

/// A1.4
#[test]
fn a_length_that_is_declared_too_long_is_rejected_unread() {
    let mut client = client(&[]);
    client.write(&head("POST", "/count", &[], 1 << 40));
    assert_problem(&client.receive(), 413);
}

/// A1.4
#[test]
fn a_body_of_unknown_length_is_limited_too() {
    let mut client = client(&[]);
    let chunked = "POST /count HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write(chunked.as_bytes());
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..16 {
        client.write(chunk.as_bytes());
    }
    client.write(b"1\r\nx\r\n");
    assert_problem(&client.receive(), 413);
}

/// A1.5
#[test]
fn a_panic_is_a_500_on_a_connection_that_stays_usable() {
    let mut client = client(&[]);
    for _ in 0..2 {
        let response = client.post("/panic", "");
        assert_problem(&response, 500);
        assert!(response.headers.contains_key("x-request-id"));
        assert_eq!(client.post("/count", r#"{"s":"x"}"#).body, r#"{"v":1}"#);
    }
    let metrics = client.get("/metrics").body;
    let failures = r#"{http_request_method="POST",http_route="/panic",http_response_status_code="500",outcome="failure"} 2"#;
    assert!(metrics.contains(failures), "{metrics}");
}

#[test]
fn a_call_that_takes_too_long_is_a_504() {
    let mut client = client(&["--timeout", "50ms"]);
    let problem = assert_problem(&client.post("/stuck", ""), 504);
    assert_eq!(problem["code"], "deadline_exceeded");
    assert_eq!(client.get("/healthz").status, 200);
}

/// A1.10
#[test]
fn a_request_id_comes_back_and_one_is_made_where_there_is_none() {
    let mut client = client(&[]);
    let response = client.send(
        "POST",
        "/count",
        &[("x-request-id", "abc")],
        br#"{"s":"x"}"#,
    );
    assert_eq!(response.headers["x-request-id"], "abc");
    let mut made = || client.get("/nope").headers.remove("x-request-id").unwrap();
    assert_ne!(made(), made());
}

#[test]
fn calls_over_the_rate_are_a_429_and_the_operator_is_never_limited() {
    let mut client = client(&["--rate", "1", "--burst", "2"]);
    for _ in 0..2 {
        assert_eq!(client.post("/count", r#"{"s":"x"}"#).status, 200);
    }
    let response = client.post_until_rejected("/count", r#"{"s":"x"}"#);
    let problem = assert_problem(&response, 429);
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(response.headers["retry-after"], "1");
    for _ in 0..5 {
        assert_eq!(client.get("/metrics").status, 200);
        assert_eq!(client.get("/healthz").body, "ok\n");
    }
}

/// RL-19, on the real clock. A longer sleep on a slow machine admits the request as well.
#[test]
fn a_request_after_retry_after_is_admitted() {
    let mut client = client(&["--rate", "1", "--burst", "1"]);
    for _ in 0..3 {
        let rejected = client.post_until_rejected("/count", r#"{"s":"x"}"#);
        let wait = rejected.headers["retry-after"].parse().unwrap();
        assert!(wait >= 1);
        thread::sleep(Duration::from_secs(wait));
        assert_eq!(client.post("/count", r#"{"s":"x"}"#).status, 200);
    }
}

/// A1.10
#[test]
fn metrics_tell_of_every_call_once_it_is_over() {
    let mut client = client(&[]);
    client.post("/uppercase", r#"{"s":"x"}"#);
    client.post("/uppercase", r#"{"s":""}"#);
    client.post("/uppercase", "not json");
    client.get("/nope");
    let metrics = client.get("/metrics").body;
    for line in [
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/uppercase",http_response_status_code="200",outcome="success"} 2"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/uppercase",http_response_status_code="400",outcome="client_error"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="unmatched",http_response_status_code="404",outcome="client_error"} 1"#,
        r#"http_server_active_requests{http_request_method="POST",http_route="/uppercase"} 0"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(!metrics.contains("/metrics"));
}
