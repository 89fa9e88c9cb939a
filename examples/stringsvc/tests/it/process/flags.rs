use std::net::TcpListener;
use std::process::Command;

use super::BODY;
use super::command;
use super::start;
use towerkit_programs::Service;

#[test]
fn it_prints_where_it_listens_and_three_lines_to_try() {
    let mut service = start(&[]);
    let addr = service.address();
    assert_ne!(addr.port(), 0);
    for expected in [
        format!("  curl -XPOST -d'{BODY}' {addr}/uppercase"),
        format!("  curl -XPOST -d'{BODY}' {addr}/count"),
        format!("  curl {addr}/metrics"),
    ] {
        assert_eq!(service.next_line().trim_end_matches('\n'), expected);
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
        ["--otlp", "localhost"],
        ["--sample", "1.5"],
        ["--lgo", "off"],
    ] {
        let (code, stderr) = rejected(command(&flags));
        assert_eq!(code, 2, "{flags:?}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(flags[0]),
            "{stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let (code, stderr) = rejected(command(&["--timeout", "10000h"]));
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
        "OTLP",
        "SAMPLE",
    ] {
        assert!(
            help.contains(&format!("[env: STRINGSVC_{twin}=]")),
            "{help}"
        );
    }
    let mut wrong = command(&[]);
    wrong.env("STRINGSVC_RATE", "0");
    let (code, stderr) = rejected(wrong);
    assert_eq!(code, 2);
    assert!(stderr.contains("--rate"), "{stderr}");

    let mut right = command(&[]);
    right
        .env("STRINGSVC_ADDR", "127.0.0.1:0")
        .env("STRINGSVC_BURST", "1")
        .env("STRINGSVC_RATE", "1");
    let service = Service::run(right);
    let mut client = service.client();
    assert_eq!(client.post("/count", BODY).status, 200);
    assert_eq!(client.post_until_rejected("/count", BODY).status, 429);
}

#[test]
fn a_port_in_use_is_one_line_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, stderr) = rejected(command(&["--addr", &addr]));
    assert_eq!(code, 1);
    assert_eq!(stderr.lines().count(), 1);
    let line = format!("stringsvc: cannot listen on {addr}: Address already in use");
    assert!(stderr.starts_with(&line), "{stderr}");
}

/// Runs a program that ends by itself, and returns its exit code and what it wrote to stderr.
fn rejected(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr)
}
