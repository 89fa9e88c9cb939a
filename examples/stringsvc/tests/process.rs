//! How the program behaves: its flags, its output, its signals.
#![cfg(unix)]

mod client;

use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::client::Client;
use crate::client::head;

const BODY: &str = r#"{"s":"hello, world"}"#;

/// The program, running.
struct Running {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stringsvc"));
    command.env_clear().args(flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the program on a free port.
fn start(flags: &[&str]) -> Running {
    run(command(&[&["--addr", "127.0.0.1:0"], flags].concat()))
}

fn run(mut command: Command) -> Running {
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").unwrap();
    Running {
        child: Some(child),
        addr: addr.parse().unwrap(),
        stdout,
    }
}

impl Running {
    fn client(&self) -> Client {
        Client::connect(self.addr).unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until the program ends by itself.
    fn end(mut self) -> Output {
        let mut child = self.child.take().unwrap();
        wait_until("the program ends", || child.try_wait().unwrap().is_some());
        child.wait_with_output().unwrap()
    }

    fn is_listening(&self) -> bool {
        TcpStream::connect(self.addr).is_ok()
    }

    fn wait_for_a_call_in_flight(&self) {
        let active =
            r#"http_server_active_requests{http_request_method="POST",http_route="/uppercase"} 1"#;
        let mut client = self.client();
        wait_until("a call is in flight", || {
            client.get("/metrics").body.contains(active)
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Runs a program that ends by itself, and returns its exit code and what it wrote to stderr.
fn refused(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr)
}

#[test]
fn it_prints_where_it_listens_and_three_lines_to_try() {
    let mut service = start(&[]);
    let addr = service.addr;
    assert_ne!(addr.port(), 0);
    let mut lines = (&mut service.stdout).lines().map(Result::unwrap);
    for expected in [
        format!("  curl -XPOST -d'{BODY}' {addr}/uppercase"),
        format!("  curl -XPOST -d'{BODY}' {addr}/count"),
        format!("  curl {addr}/metrics"),
    ] {
        assert_eq!(lines.next(), Some(expected));
    }
    let mut client = service.client();
    assert_eq!(
        client.post("/uppercase", BODY).body,
        r#"{"v":"HELLO, WORLD"}"#
    );
    assert_eq!(client.post("/count", BODY).body, r#"{"v":12}"#);
    assert!(
        client
            .get("/metrics")
            .body
            .contains("http_server_active_requests")
    );
}

#[test]
fn a_flag_that_makes_no_sense_is_named_and_exits_with_2() {
    for flags in [
        ["--addr", "8080"],
        ["--rate", "0"],
        ["--rate", "fast"],
        ["--burst", "0"],
        ["--timeout", "0s"],
        ["--timeout", "2"],
        ["--drain", "soon"],
        ["--log", "loud"],
        ["--log-format", "xml"],
        ["--lgo", "off"],
    ] {
        let (code, stderr) = refused(command(&flags));
        assert_eq!(code, 2, "{flags:?}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(flags[0]),
            "{stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let (code, stderr) = refused(command(&["--timeout", "10000h"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("timeout"), "{stderr}");
}

#[test]
fn every_flag_has_a_twin_in_the_environment() {
    let output = command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for twin in [
        "ADDR",
        "RATE",
        "BURST",
        "TIMEOUT",
        "DRAIN",
        "LOG",
        "LOG_FORMAT",
    ] {
        assert!(
            help.contains(&format!("[env: STRINGSVC_{twin}=]")),
            "{help}"
        );
    }
    let mut wrong = command(&[]);
    wrong.env("STRINGSVC_RATE", "0");
    let (code, stderr) = refused(wrong);
    assert_eq!(code, 2);
    assert!(stderr.contains("--rate"), "{stderr}");

    let mut right = command(&[]);
    right
        .env("STRINGSVC_ADDR", "127.0.0.1:0")
        .env("STRINGSVC_BURST", "1")
        .env("STRINGSVC_RATE", "1");
    let service = run(right);
    let mut client = service.client();
    assert_eq!(client.post("/count", BODY).status, 200);
    assert_eq!(client.post("/count", BODY).status, 429);
}

#[test]
fn a_port_in_use_is_one_line_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, stderr) = refused(command(&["--addr", &addr]));
    assert_eq!(code, 1);
    assert_eq!(stderr.lines().count(), 1);
    let line = format!("stringsvc: cannot listen on {addr}: Address already in use");
    assert!(stderr.starts_with(&line), "{stderr}");
}

/// A1.11
#[test]
fn a_signal_ends_an_idle_service_at_once() {
    for signal in ["TERM", "INT"] {
        let service = start(&["--drain", "1h"]);
        let mut idle = service.client();
        assert_eq!(idle.get("/healthz").status, 200);
        service.signal(signal);
        assert_eq!(service.end().status.code(), Some(0), "{signal}");
    }
}

/// A1.11
#[test]
fn a_call_in_flight_ends_before_the_service_does() {
    let service = start(&["--timeout", "1m", "--drain", "1h"]);
    let mut slow = service.client();
    let (first, rest) = BODY.split_at(5);
    slow.write(&head("POST", "/uppercase", &[], BODY.len()));
    slow.write(first.as_bytes());
    service.wait_for_a_call_in_flight();

    service.signal("TERM");
    wait_until("no new connection is taken", || !service.is_listening());
    slow.write(rest.as_bytes());
    assert_eq!(slow.receive().body, r#"{"v":"HELLO, WORLD"}"#);
    assert_eq!(service.end().status.code(), Some(0));
}

/// A1.11
#[test]
fn what_does_not_end_in_time_or_before_a_second_signal_is_cut_off() {
    for (drain, signals) in [("100ms", 1), ("1h", 2)] {
        let service = start(&["--timeout", "1h", "--drain", drain]);
        let mut stuck = service.client();
        stuck.write(&head("POST", "/uppercase", &[], BODY.len()));
        service.wait_for_a_call_in_flight();
        for _ in 0..signals {
            service.signal("TERM");
            wait_until("no new connection is taken", || !service.is_listening());
        }
        assert_eq!(service.end().status.code(), Some(0), "{drain}");
    }
}

/// Makes four calls, and returns what was logged until the end.
fn logged(flags: &[&str]) -> String {
    let service = start(&[&["--rate", "1", "--burst", "3"], flags].concat());
    let mut client = service.client();
    client.post("/uppercase", BODY);
    client.post("/uppercase", r#"{"s":""}"#);
    client.get("/nope");
    client.post("/count", BODY);
    service.signal("TERM");
    String::from_utf8(service.end().stderr).unwrap()
}

/// What the log says of these calls.
const CALLS: [[(&str, &str); 5]; 4] = [
    [
        ("level", "info"),
        ("operation", "/uppercase"),
        ("method", "POST"),
        ("status", "200"),
        ("outcome", "success"),
    ],
    [
        ("level", "info"),
        ("operation", "/uppercase"),
        ("method", "POST"),
        ("status", "200"),
        ("outcome", "success"),
    ],
    [
        ("level", "info"),
        ("operation", "unmatched"),
        ("method", "GET"),
        ("status", "404"),
        ("outcome", "client_error"),
    ],
    [
        ("level", "warn"),
        ("operation", "/count"),
        ("method", "POST"),
        ("status", "429"),
        ("outcome", "overloaded"),
    ],
];

fn assert_logged(lines: &[HashMap<String, String>]) {
    let (last, calls) = lines.split_last().unwrap();
    assert_eq!(last["msg"], "draining");
    assert_eq!(calls.len(), CALLS.len());
    for (call, expected) in calls.iter().zip(CALLS) {
        assert_eq!(call["msg"], "call");
        assert!(call["latency_ms"].parse::<f64>().unwrap() < 30_000.0);
        for (name, value) in expected {
            assert_eq!(call[name], value, "{call:?}");
        }
    }
    assert_eq!(calls[0]["bytes"], "20");
    assert_eq!(calls[3]["refused"], "rate_limited");
}

/// A1.10
#[test]
fn each_call_is_a_line_of_logfmt() {
    let fields = |line: &str| {
        let fields = line.split(' ').map(|field| field.split_once('=').unwrap());
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let lines: Vec<_> = logged(&[]).lines().map(fields).collect();
    assert_logged(&lines);
}

/// A1.10
#[test]
fn each_call_is_a_line_of_json_where_asked_for() {
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let fields = |line: &str| {
        let fields: HashMap<String, Value> = serde_json::from_str(line).unwrap();
        fields
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    };
    let lines: Vec<_> = logged(&["--log-format", "json"])
        .lines()
        .map(fields)
        .collect();
    assert_logged(&lines);
}

#[test]
fn a_log_that_is_off_says_nothing() {
    assert_eq!(logged(&["--log", "off"]), "");
}

/// RL-14
#[test]
fn a_service_that_was_stopped_admits_a_burst_and_no_more() {
    const RATE: u32 = 100;
    const BURST: u32 = 20;
    const CONNECTIONS: u32 = 4;
    let service = start(&["--rate", "100", "--burst", "20", "--log", "off"]);
    let (admitted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let is_over = AtomicBool::new(false);
    let load = || {
        let mut client = service.client();
        while !is_over.load(SeqCst) {
            match client.post("/count", BODY).status {
                200 => admitted.fetch_add(1, SeqCst),
                429 => refused.fetch_add(1, SeqCst),
                other => panic!("{other}"),
            };
        }
    };
    let (resumed, elapsed) = thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(load);
        }
        wait_until("the bucket is empty", || refused.load(SeqCst) > 0);
        service.signal("STOP");
        sleep(Duration::from_secs(3));
        admitted.store(0, SeqCst);
        let start = Instant::now();
        service.signal("CONT");
        sleep(Duration::from_millis(500));
        is_over.store(true, SeqCst);
        (admitted.load(SeqCst), start.elapsed())
    });
    // What was admitted before the stop may have been answered after it: one call on each connection.
    let most = BURST + (f64::from(RATE) * elapsed.as_secs_f64()) as u32 + CONNECTIONS + 1;
    assert!(
        (BURST..=most).contains(&resumed),
        "{resumed} in {elapsed:?}"
    );
}
