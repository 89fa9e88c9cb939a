//! The add service as its callers see it: the program, over each of its transports.
#![cfg(unix)]

use std::{
    future::pending,
    net::SocketAddr,
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::Router;
use futures_util::stream;
use http::HeaderMap;
use tokio::net::TcpListener;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use towerkit::server::Server;
use towerkit_programs::Service;

const ADDSVC: &str = env!("CARGO_BIN_EXE_addsvc");
const ADDCLI: &str = env!("CARGO_BIN_EXE_addcli");

fn start(flags: &[&str]) -> Service {
    Service::start(ADDSVC, flags)
}

/// Calls with a limit that no machine is too slow for.
fn addcli(flags: &[&str]) -> Output {
    addcli_in_time(&[&["--timeout", "60"], flags].concat())
}

fn addcli_in_time(flags: &[&str]) -> Output {
    Command::new(ADDCLI)
        .args(flags)
        .output()
        .expect("addcli starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Table 2.6 of go-kit's examples: `addcli` prints the same over every transport.
#[test]
fn addcli_prints_the_result_over_every_transport_on_one_port() {
    let service = start(&[]);
    let address = service.address().to_string();
    for transport in ["--http-addr", "--jsonrpc-addr", "--grpc-addr"] {
        for (args, printed) in [
            (["sum", "1", "2"], "1 + 2 = 3\n"),
            (["sum", "-5", "2"], "-5 + 2 = -3\n"),
            (["concat", "1", "2"], "\"1\" + \"2\" = \"12\"\n"),
        ] {
            let [method, a, b] = args;
            let output = addcli(&[transport, &address, "--method", method, a, b]);
            assert_eq!(
                text(&output.stdout),
                printed,
                "{transport} {}",
                text(&output.stderr)
            );
            assert_eq!(output.status.code(), Some(0));
        }
        for (args, message) in [
            (["sum", "0", "0"], "can't sum two zeroes"),
            (["sum", "2147483647", "1"], "integer overflow"),
            (["concat", "123456", "78901"], "result exceeds maximum size"),
        ] {
            let [method, a, b] = args;
            let output = addcli(&[transport, &address, "--method", method, a, b]);
            assert_eq!(
                text(&output.stderr),
                format!("error: {message}\n"),
                "{transport}"
            );
            assert_eq!(output.status.code(), Some(1));
        }
    }
    service.signal("TERM");
    assert_eq!(service.end().status.code(), Some(0));
}

#[test]
fn transports_have_ports_of_their_own_where_asked_for() {
    let mut service = start(&[
        "--grpc-addr",
        "127.0.0.1:0",
        "--jsonrpc-addr",
        "127.0.0.1:0",
    ]);
    for (transport, flag) in [("gRPC", "--grpc-addr"), ("JSON-RPC", "--jsonrpc-addr")] {
        let line = service.next_line();
        let address = line.trim_end().strip_prefix(&format!("{transport} on "));
        let address = address.unwrap_or_else(|| panic!("no address: {line}"));
        let output = addcli(&[flag, address, "1", "2"]);
        assert_eq!(
            text(&output.stdout),
            "1 + 2 = 3\n",
            "{}",
            text(&output.stderr)
        );
    }
    // The main port has HTTP only.
    let mut client = service.client();
    assert_eq!(client.post("/sum", r#"{"a":1,"b":2}"#).body, r#"{"v":3}"#);
    assert_eq!(client.post("/rpc", "{}").status, 404);
}

#[test]
fn errors_have_the_form_of_their_transport_or_that_of_go_kit() {
    let zeroes = r#"{"a":0,"b":0}"#;
    let service = start(&[]);
    let mut client = service.client();
    let response = client.post("/sum", zeroes);
    assert_eq!(response.status, 400);
    assert_eq!(response.headers["content-type"], "application/problem+json");
    assert!(
        response.body.contains("can't sum two zeroes"),
        "{}",
        response.body
    );
    let call = r#"{"jsonrpc":"2.0","method":"sum","params":{"a":0,"b":0},"id":7}"#;
    let response = client.post("/rpc", call);
    assert_eq!(response.status, 200);
    assert!(
        response.body.contains("-32602") && response.body.contains("\"id\":7"),
        "{}",
        response.body
    );
    assert_eq!(client.post("/sum", "{").status, 400);
    assert_eq!(client.get("/sum").status, 405);

    let service = start(&["--go-kit-errors"]);
    let mut client = service.client();
    let response = client.post("/sum", zeroes);
    assert_eq!(
        (response.status, &*response.body),
        (400, r#"{"error":"can't sum two zeroes"}"#)
    );
    assert_eq!(client.post("/sum", "{").status, 400);
    let address = service.address().to_string();
    for transport in ["--http-addr", "--jsonrpc-addr", "--grpc-addr"] {
        let output = addcli(&[transport, &address, "0", "0"]);
        assert_eq!(
            text(&output.stderr),
            "error: can't sum two zeroes\n",
            "{transport}"
        );
    }
}

#[test]
fn one_limit_counts_the_calls_of_all_transports() {
    let service = start(&["--rate", "1"]);
    let mut client = service.client();
    let sum = r#"{"a":1,"b":2}"#;
    let call = r#"{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1}"#;
    let mut rejected = (0..1000).map(|_| {
        client.post("/sum", sum);
        client.post("/rpc", call).body
    });
    let rejected = rejected.find(|body| body.contains("rate_limited"));
    assert!(rejected.is_some_and(|body| body.contains("-32008")));
    // A limit for each operation: the other one has its own.
    assert_eq!(client.post("/concat", r#"{"a":"1","b":"2"}"#).status, 200);
}

#[test]
fn each_call_is_measured_under_the_name_of_its_transport() {
    let service = start(&[]);
    let mut client = service.client();
    client.post("/sum", r#"{"a":1,"b":2}"#);
    let batch = r#"[{"jsonrpc":"2.0","method":"concat","params":["a","b"],"id":1},{"jsonrpc":"2.0","method":"sum","params":[0,0],"id":2}]"#;
    client.post("/rpc", batch);
    let address = service.address().to_string();
    addcli(&["--grpc-addr", &address, "1", "2"]);
    let metrics = client.get("/metrics").body;
    for label in [
        r#"http_route="/sum""#,
        r#"rpc_method="pb.Add/Sum""#,
        r#"rpc_system_name="jsonrpc",rpc_method="concat""#,
        r#"rpc_system_name="jsonrpc",rpc_method="sum",rpc_status_code="-32602""#,
    ] {
        assert!(metrics.contains(label), "{label}\n{metrics}");
    }
}

/// Connects to the gRPC port, or to the only one.
async fn channel(address: &str) -> Channel {
    let channel = Channel::from_shared(format!("http://{address}")).expect("a URI");
    channel.connect().await.expect("the service listens")
}

/// Starts a service with one port, and one with a port for gRPC, and returns the address for gRPC of each.
fn start_both() -> [(Service, String); 2] {
    let one = start(&[]);
    let mut two = start(&["--grpc-addr", "127.0.0.1:0"]);
    let line = two.next_line();
    let own = line
        .trim_end()
        .strip_prefix("gRPC on ")
        .expect("an address");
    let (address, own) = (one.address().to_string(), own.to_owned());
    [(one, address), (two, own)]
}

#[tokio::test]
async fn health_is_that_of_the_server_until_it_stops() {
    for (service, address) in start_both() {
        let mut client = HealthClient::new(channel(&address).await);
        for name in ["", "pb.Add"] {
            let check = client.check(of(name)).await.expect("a status");
            assert_eq!(check.into_inner().status(), ServingStatus::Serving);
        }
        let unknown = client.check(of("pb.Other")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);

        let watch = client.watch(of("pb.Add")).await.expect("a stream");
        let mut watch = watch.into_inner();
        let first = watch.message().await.expect("a status");
        assert_eq!(
            first.map(|first| first.status()),
            Some(ServingStatus::Serving)
        );
        service.signal("TERM");
        let last = watch.message().await.expect("a status");
        assert_eq!(
            last.map(|last| last.status()),
            Some(ServingStatus::NotServing)
        );
        assert!(watch.message().await.expect("the end").is_none());
        assert_eq!(service.end().status.code(), Some(0));
    }
}

fn of(service: &str) -> HealthCheckRequest {
    let service = service.to_owned();
    HealthCheckRequest { service }
}

#[tokio::test]
async fn reflection_lists_the_services_and_has_their_definition() {
    for (_service, address) in start_both() {
        let mut client = ServerReflectionClient::new(channel(&address).await);
        let ask = [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol("pb.Add.Concat".to_owned()),
        ];
        let ask = ask.map(|message| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        });
        let answers = client.server_reflection_info(stream::iter(ask)).await;
        let mut answers = answers.expect("a stream").into_inner();
        let mut next = async || {
            let answer = answers.message().await.expect("an answer");
            answer.expect("an answer").message_response
        };
        let Some(MessageResponse::ListServicesResponse(list)) = next().await else {
            panic!("no list")
        };
        let mut names: Vec<_> = list.service.iter().map(|each| &*each.name).collect();
        names.sort_unstable();
        let reflection = "grpc.reflection.v1.ServerReflection";
        assert_eq!(names, ["grpc.health.v1.Health", reflection, "pb.Add"]);
        let Some(MessageResponse::FileDescriptorResponse(files)) = next().await else {
            panic!("no file")
        };
        let file = text_of(&files.file_descriptor_proto[0]);
        assert!(file.contains("ConcatReply"), "{file}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Serves no request, and keeps the time that each had left.
async fn silent() -> (SocketAddr, Arc<Mutex<Vec<(String, String)>>>) {
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let keep = seen.clone();
    let app = Router::new().fallback(move |headers: HeaderMap| {
        let times = ["x-request-timeout-ms", "grpc-timeout"];
        for name in times.into_iter().filter(|name| headers.contains_key(*name)) {
            let value = text(headers[name].as_bytes());
            keep.lock().unwrap().push((name.to_owned(), value));
        }
        pending::<String>()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, app, pending()));
    (address, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn addcli_sends_what_is_left_of_its_timeout_and_ends_with_it() {
    let (address, seen) = silent().await;
    let address = address.to_string();
    for (transport, header, unit) in [
        ("--http-addr", "x-request-timeout-ms", ""),
        ("--jsonrpc-addr", "x-request-timeout-ms", ""),
        ("--grpc-addr", "grpc-timeout", "u"),
    ] {
        for (flags, limit) in [(&[][..], 1000), (&["--timeout", "0.3"], 300)] {
            // On a slow machine the time may be over before the request is sent.
            let sent = (0..20).find_map(|_| {
                let started = Instant::now();
                let output = addcli_in_time(&[&[transport, &address, "1", "2"], flags].concat());
                assert_eq!(text(&output.stderr), "error: deadline exceeded\n");
                assert!(started.elapsed() >= Duration::from_millis(limit));
                let sent = std::mem::take(&mut *seen.lock().unwrap());
                (!sent.is_empty()).then_some(sent)
            });
            let sent = sent.expect("a request");
            let [(name, left)] = &sent[..] else {
                panic!("{transport}: {sent:?}")
            };
            assert_eq!(name, header, "{transport}");
            let left: u64 = left.trim_end_matches(unit).parse().expect("a number");
            let left = if unit.is_empty() { left } else { left / 1000 };
            assert!((1..=limit).contains(&left), "{transport}: {left} ms");
        }
    }
    let output = addcli_in_time(&["--http-addr", &address, "--timeout", "soon", "1", "2"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn addcli_needs_an_address_and_numbers() {
    let output = addcli(&["1", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--http-addr"));
    let output = addcli(&["--http-addr", "localhost:1", "one", "2"]);
    assert_eq!(output.status.code(), Some(1));
    // An address where no server listens.
    let output = addcli(&["--http-addr", "127.0.0.1:1", "1", "2"]);
    assert_eq!(text(&output.stderr), "error: the upstream is unavailable\n");
}
