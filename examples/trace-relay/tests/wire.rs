//! TR-01 over real sockets: what depends on how fields are written on the wire, such as spaces, case and repetition. The cases that do
//! not are in `crates/towerkit-trace/tests/w3c.rs`, and `scripts/w3c-conformance` runs the suite of W3C itself.

use axum::{Router, routing::post};
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

struct Wire {
    relay: String,
    callback: String,
    received: mpsc::UnboundedReceiver<HeaderMap>,
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address.to_string()
}

impl Wire {
    async fn start() -> Self {
        let (seen, received) = mpsc::unbounded_channel();
        let callback = post(move |headers: HeaderMap| {
            let _ = seen.send(headers);
            async {}
        });
        let backend = serve(Router::new().route("/callback", callback)).await;
        Self {
            relay: serve(trace_relay::app()).await,
            callback: format!("http://{backend}/callback"),
            received,
        }
    }

    /// Sends a request with these lines, as they are; the trace and the `tracestate` that were passed on.
    async fn send(&mut self, lines: &[&str]) -> (String, Option<String>) {
        let body = format!(r#"[{{"url": "{}", "arguments": []}}]"#, self.callback);
        let mut request = format!(
            "POST /test HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.relay
        );
        for line in lines {
            request += &format!("{line}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let mut stream = TcpStream::connect(&self.relay).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        let fields = self.received.recv().await.unwrap();
        let mut parents = fields.get_all("traceparent").iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            panic!("one parent was expected: {fields:?}")
        };
        let parent = parent.to_str().unwrap();
        assert!(
            !parent.contains("1234567890123456-0"),
            "the call has a span of its own"
        );
        let states: Vec<_> = fields
            .get_all("tracestate")
            .iter()
            .map(|state| state.to_str().unwrap())
            .collect();
        let state = (!states.is_empty()).then(|| states.join(","));
        (parent[3..35].to_owned(), state)
    }
}

#[tokio::test]
async fn spaces_around_a_parent_are_none_of_it() {
    let mut wire = Wire::start().await;
    for (before, after) in [
        ("", ""),
        (" ", ""),
        ("\t", ""),
        ("", " "),
        ("", "\t"),
        ("\t ", " \t"),
    ] {
        let (trace, _) = wire
            .send(&[&format!("traceparent:{before}{PARENT}{after}")])
            .await;
        assert_eq!(trace, TRACE, "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn names_have_no_case_and_no_other_spelling() {
    let mut wire = Wire::start().await;
    for name in ["traceparent", "TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        assert_eq!(wire.send(&[&format!("{name}: {PARENT}")]).await.0, TRACE);
    }
    for name in ["trace-parent", "trace.parent"] {
        assert_ne!(wire.send(&[&format!("{name}: {PARENT}")]).await.0, TRACE);
    }
    let parent = format!("traceparent: {PARENT}");
    for name in ["tracestate", "TraceState", "TRACESTATE"] {
        let (_, state) = wire.send(&[&parent, &format!("{name}: foo=1")]).await;
        assert_eq!(state.as_deref(), Some("foo=1"));
    }
    for name in ["trace-state", "trace.state"] {
        assert_eq!(
            wire.send(&[&parent, &format!("{name}: foo=1")]).await.1,
            None
        );
    }
}

#[tokio::test]
async fn a_repeated_parent_is_none() {
    let mut wire = Wire::start().await;
    let lines = [
        "traceparent: 00-12345678901234567890123456789011-1234567890123456-01".to_owned(),
        format!("traceparent: {PARENT}"),
    ];
    let (trace, _) = wire.send(&[&lines[0], &lines[1]]).await;
    assert!(!trace.starts_with("123456789012345678901234567890"));
    let (trace, _) = wire.send(&[&lines[1], &lines[1]]).await;
    assert_ne!(trace, TRACE);
}

#[tokio::test]
async fn a_state_in_several_lines_is_one_list() {
    let mut wire = Wire::start().await;
    let parent = format!("traceparent: {PARENT}");
    for (lines, expected) in [
        (
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"][..],
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3"),
        ),
        (&["foo=1", ""], Some("foo=1")),
        (&["", "foo=1"], Some("foo=1")),
        (&[""], None),
        (&["foo=1", "foo=2"], Some("foo=1,foo=2")),
        (&["\t foo=1 \t"], Some("foo=1")),
        (
            &["foo=1 \t , \t bar=2, \t baz=3"],
            Some("foo=1,bar=2,baz=3"),
        ),
        (&["foo =1"], None),
        (&["foo@bar@baz=1,bar=2"], Some("foo@bar@baz=1,bar=2")),
        (&["@foo=1,bar=2"], None),
    ] {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| format!("tracestate: {line}"))
            .collect();
        let sent: Vec<_> = std::iter::once(parent.as_str())
            .chain(lines.iter().map(String::as_str))
            .collect();
        let (trace, state) = wire.send(&sent).await;
        assert_eq!(trace, TRACE);
        assert_eq!(state.as_deref(), expected, "{lines:?}");
    }
}
