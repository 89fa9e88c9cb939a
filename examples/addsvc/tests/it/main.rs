//! The add service as its callers see it: the program, over each of its transports.
#![cfg(unix)]

use std::process::{Command, Output};

use towerkit_programs::Service;

const ADDSVC: &str = env!("CARGO_BIN_EXE_addsvc");
const ADDCLI: &str = env!("CARGO_BIN_EXE_addcli");

fn start(flags: &[&str]) -> Service {
    Service::start(ADDSVC, flags)
}

fn addcli(flags: &[&str]) -> Output {
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
