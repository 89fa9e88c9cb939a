//! MT-04, TR-02, TR-03: however a call ends, it is one line and one span of the same ids, and no longer active.

use std::{convert::Infallible, future::pending, io, time::Duration};

use axum::{Router, body::Body, response::Response, routing::get};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use opentelemetry::trace::Status;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_http::catch_panic::CatchPanicLayer;
use towerkit_core::stack;
use towerkit_http::HttpExt;
use towerkit_log::{Format, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_timeout::TimeoutLayer;
use towerkit_trace::TraceLayer;

use crate::whole::{
    observed::{Observed, attribute, eventually},
    server::{Server, client},
};

/// Sends a piece, and then what `then` says.
fn streaming(
    then: impl stream::Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
) -> Response {
    let first = stream::once(async { Ok(Bytes::from_static(b"a piece")) });
    Response::new(Body::from_stream(first.chain(then)))
}

fn app(registry: &Registry) -> Router {
    let routes = Router::new()
        .route("/ok", get(|| async { "done" }))
        .route("/hangs", get(pending::<String>))
        .route("/streams", get(|| async { streaming(stream::pending()) }))
        .route(
            "/aborts",
            get(|| async { streaming(stream::once(async { Err(io::Error::other("broken")) })) }),
        );
    let panics = || get(|| async { panic!("a bug") as String });
    let caught = Router::new()
        .route("/caught", panics())
        .layer(CatchPanicLayer::new());
    let timeout = TimeoutLayer::new(Duration::from_millis(20)).unwrap();
    let slow = Router::new()
        .route("/slow", get(pending::<String>))
        .layer(timeout.http());
    let observers = (
        TraceLayer::server(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
    );
    let routes = routes.route("/panics", panics()).merge(caught).merge(slow);
    routes.layer(stack(observers).axum())
}

struct Whole {
    observed: Observed,
    registry: Registry,
    server: Server,
}

/// What is expected of a call: `None` where there is nothing.
struct CallEnd<'a> {
    route: &'a str,
    outcome: &'a str,
    status: Option<u16>,
    error: Option<&'a str>,
}

impl Whole {
    async fn start() -> Self {
        let registry = Registry::new();
        Self {
            observed: Observed::start(Format::Json),
            server: Server::start(app(&registry)).await,
            registry,
        }
    }

    fn active(&self, count: u32) -> bool {
        let text = self.registry.render();
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("http_server_active_requests{"));
        let sum: u32 = lines
            .by_ref()
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
            .sum();
        sum == count
    }

    /// Checks that one call ended so.
    async fn ended(&self, end: &CallEnd<'_>) {
        let span = &self.observed.spans_of(1).await[0];
        let lines = self.observed.calls();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let line = &lines[0];
        eventually("no call is active", || self.active(0)).await;
        assert_eq!(line["outcome"], end.outcome, "{line}");
        assert_eq!(line["operation"], end.route, "{line}");
        assert_eq!(line["trace_id"], span.span_context.trace_id().to_string());
        assert_eq!(line["span_id"], span.span_context.span_id().to_string());
        assert_eq!(
            line["status"],
            end.status.map_or(Value::Null, Value::from),
            "{line}"
        );
        assert_eq!(span.name, format!("GET {}", end.route));
        let status = end
            .status
            .map(|status| status.to_string())
            .unwrap_or_default();
        assert_eq!(attribute(span, "http.response.status_code"), status);
        assert_eq!(attribute(span, "error.type"), end.error.unwrap_or_default());
        let is_error = matches!(span.status, Status::Error { .. });
        assert_eq!(is_error, end.error.is_some(), "{:?}", span.status);
        let count = format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"GET\",http_route=\"{}\",http_response_status_code=\"{status}\",outcome=\"{}\"}} 1\n",
            end.route, end.outcome
        );
        let text = self.registry.render();
        assert!(text.contains(&count), "{count}{text}");
    }

    /// Asks, and reads to the end; an error is one of the connection.
    async fn ask(&self, path: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let response = client().request(self.server.get(path)).await?;
        response.into_body().collect().await?;
        Ok(())
    }

    /// Sends a request by hand, and reads until the answer holds this text.
    async fn connect(&self, path: &str, until: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains(until) {
            assert_ne!(connection.read_buf(&mut answer).await.unwrap(), 0);
        }
        connection
    }
}

#[tokio::test]
async fn a_call_that_is_done_is_a_success() {
    let whole = Whole::start().await;
    whole.ask("/ok").await.unwrap();
    let end = CallEnd {
        route: "/ok",
        outcome: "success",
        status: Some(200),
        error: None,
    };
    whole.ended(&end).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_cancels_the_call() {
    let whole = Whole::start().await;
    let connection = whole.connect("/hangs", "").await;
    eventually("the call is active", || whole.active(1)).await;
    drop(connection);
    let end = CallEnd {
        route: "/hangs",
        outcome: "cancelled",
        status: None,
        error: Some("cancelled"),
    };
    whole.ended(&end).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_body_cancels_the_call() {
    let whole = Whole::start().await;
    let connection = whole.connect("/streams", "a piece").await;
    assert!(whole.active(1));
    assert!(whole.observed.spans().is_empty() && whole.observed.calls().is_empty());
    drop(connection);
    let end = CallEnd {
        route: "/streams",
        outcome: "cancelled",
        status: Some(200),
        error: Some("cancelled"),
    };
    whole.ended(&end).await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_timed_out() {
    let whole = Whole::start().await;
    whole.ask("/slow").await.unwrap();
    let end = CallEnd {
        route: "/slow",
        outcome: "timed_out",
        status: Some(504),
        error: Some("504"),
    };
    whole.ended(&end).await;
}

#[tokio::test]
async fn a_handler_that_panics_fails_the_call() {
    let whole = Whole::start().await;
    whole.ask("/panics").await.unwrap_err();
    let end = CallEnd {
        route: "/panics",
        outcome: "failure",
        status: None,
        error: Some("failure"),
    };
    whole.ended(&end).await;
}

#[tokio::test]
async fn a_panic_that_is_caught_is_a_failure_with_a_status() {
    let whole = Whole::start().await;
    whole.ask("/caught").await.unwrap();
    let end = CallEnd {
        route: "/caught",
        outcome: "failure",
        status: Some(500),
        error: Some("500"),
    };
    whole.ended(&end).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_fails_the_call() {
    let whole = Whole::start().await;
    whole.ask("/aborts").await.unwrap_err();
    let end = CallEnd {
        route: "/aborts",
        outcome: "failure",
        status: Some(200),
        error: Some("failure"),
    };
    whole.ended(&end).await;
}

/// All of them at once, many times: nothing is left over.
#[tokio::test]
async fn a_thousand_calls_that_end_in_all_ways_leave_nothing_behind() -> Result<(), Infallible> {
    let whole = Whole::start().await;
    let paths = ["/ok", "/aborts", "/panics", "/caught", "/slow"];
    for _ in 0..40 {
        let asked = stream::iter(paths.repeat(4)).for_each_concurrent(None, async |path| {
            drop(whole.ask(path).await);
        });
        let dropped = stream::iter([("/streams", "a piece"), ("/hangs", "")].repeat(3));
        let dropped = dropped.for_each_concurrent(None, async |(path, until)| {
            drop(whole.connect(path, until).await);
        });
        tokio::join!(asked, dropped);
    }
    let started = 40 * (20 + 6);
    let reached = |text: &str| -> u64 {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    eventually("no call is active", || whole.active(0)).await;
    // A client that disconnected at once may have done so before the server read its request.
    let ended = usize::try_from(reached(&whole.registry.render())).unwrap();
    assert!((40 * 23..=started).contains(&ended), "{ended} of {started}");
    let (spans, lines) = (whole.observed.spans_of(ended).await, whole.observed.calls());
    assert_eq!(lines.len(), ended);
    let mut ids: Vec<_> = spans
        .iter()
        .map(|span| span.span_context.span_id().to_string())
        .collect();
    let mut logged: Vec<_> = lines
        .iter()
        .map(|line| line["span_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    logged.sort();
    assert_eq!(ids, logged);
    ids.dedup();
    assert_eq!(ids.len(), ended);
    Ok(())
}
