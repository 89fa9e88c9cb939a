//! Over real sockets, outgoing calls belong to the trace of the incoming request.

use axum::{Router, routing::post};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, sync::mpsc};
use towerkit_trace::TraceParent;

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[tokio::test]
async fn each_outgoing_call_has_its_own_span_in_the_trace_of_the_caller() {
    let (seen, mut received) = mpsc::unbounded_channel();
    let backend = post(move |headers: HeaderMap, body: String| {
        let _ = seen.send((headers, body));
        async {}
    });
    let backend = serve(Router::new().route("/callback", backend)).await;
    let relay = serve(trace_relay::app()).await;

    let outgoing = format!(r#"{{"url": "{backend}/callback", "arguments": [1, "two"]}}"#);
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let call = |body: String| {
        let request = Request::post(format!("{relay}/test"))
            .header(
                "traceparent",
                "00-12345678901234567890123456789012-1234567890123456-01",
            )
            .header("tracestate", "foo=1")
            .body(Full::from(body));
        client.request(request.unwrap())
    };
    let response = call(format!("[{outgoing}, {outgoing}]")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut spans = Vec::new();
    for _ in 0..2 {
        let (headers, body) = received.recv().await.unwrap();
        assert_eq!(body, r#"[1,"two"]"#);
        assert_eq!(headers["tracestate"], "foo=1");
        let parent = TraceParent::parse(headers["traceparent"].as_bytes()).unwrap();
        assert_eq!(parent.trace.to_string(), "12345678901234567890123456789012");
        assert!(parent.flags.is_sampled());
        spans.push(parent.span.to_string());
    }
    assert_ne!(spans[0], spans[1]);
    assert!(!spans.contains(&"1234567890123456".to_owned()));

    assert_eq!(
        call("{}".to_owned()).await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let unreachable = r#"[{"url": "http://127.0.0.1:1/", "arguments": []}]"#.to_owned();
    assert_eq!(
        call(unreachable).await.unwrap().status(),
        StatusCode::BAD_GATEWAY
    );
}
