use std::collections::HashMap;

use serde_json::Value;

use super::BODY;
use super::start;

/// A1.10
#[test]
fn each_call_is_a_line_of_logfmt() {
    assert_logged(&logged(&[]), |line| {
        let fields = line.split(' ').map(|field| field.split_once('=').unwrap());
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    });
}

/// A1.10
#[test]
fn each_call_is_a_line_of_json_where_asked_for() {
    assert_logged(&logged(&["--log-format", "json"]), |line| {
        let fields: HashMap<String, Value> = serde_json::from_str(line).unwrap();
        let text = |value: Value| value.as_str().map_or(value.to_string(), str::to_owned);
        fields
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect()
    });
}

#[test]
fn a_log_that_is_off_says_nothing() {
    assert_eq!(logged(&["--log", "off"]), "");
}

/// A7.8
#[test]
fn a_line_shows_the_trace_of_its_caller() {
    let service = start(&[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let mut client = service.client();
    let called = client.send(
        "POST",
        "/count",
        &[("traceparent", &parent)],
        BODY.as_bytes(),
    );
    assert_eq!(called.status, 200);
    service.signal("TERM");
    let log = String::from_utf8(service.end().stderr).unwrap();
    assert!(log.contains(&format!(" trace_id={trace} ")), "{log}");
}

/// Makes calls, of which the last is rejected, and returns what was logged until the end.
fn logged(flags: &[&str]) -> String {
    let service = start(&[&["--rate", "1", "--burst", "3"], flags].concat());
    let mut client = service.client();
    client.post("/uppercase", BODY);
    client.post("/uppercase", r#"{"s":""}"#);
    client.get("/nope");
    client.post_until_rejected("/count", BODY);
    service.signal("TERM");
    String::from_utf8(service.end().stderr).unwrap()
}

fn assert_logged(log: &str, fields_of: impl Fn(&str) -> HashMap<String, String>) {
    // The server reports its shutdown after the calls.
    let (events, calls): (Vec<_>, Vec<_>) =
        log.lines().partition(|line| line.contains("stringsvc"));
    assert!(events[0].contains("draining"), "{log}");
    assert!(events[1].contains("drained"), "{log}");
    let lines: Vec<_> = calls.into_iter().map(fields_of).collect();

    let said = lines.iter().map(|line| {
        assert!(line["latency_ms"].parse::<f64>().unwrap() > 0.0);
        let names = ["level", "msg", "operation", "method", "status", "outcome"];
        names.map(|name| line[name].as_str()).join(" ")
    });
    let admitted = "info call /count POST 200 success";
    let said: Vec<_> = said.filter(|line| line != admitted).collect();
    let expected = [
        "info call /uppercase POST 200 success",
        "info call /uppercase POST 200 success",
        "info call unmatched GET 404 client_error",
        "warn call /count POST 429 overloaded",
    ];
    assert_eq!(said, expected);
    assert_eq!(lines[0]["bytes"], "20");
    assert_eq!(lines[lines.len() - 1]["rejected"], "rate_limited");
}
