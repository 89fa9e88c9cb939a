//! What the layer adds, seen by a client over a socket.

use http::HeaderMap;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;

use super::*;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// Calls five times, one after the other.
async fn call_five_times(url: &str) -> Vec<(StatusCode, HeaderMap)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut answers = Vec::new();
    for _ in 0..5 {
        let (head, _) = client.get(url.parse().unwrap()).await.unwrap().into_parts();
        answers.push((head.status, head.headers));
    }
    answers
}

#[tokio::test]
async fn without_the_layer_every_call_bothers_the_warehouse() {
    let (listener, url) = listener().await;
    let warehouse = Arc::new(Warehouse::default());
    let server = tokio::spawn(serve(listener, warehouse.clone()));
    for (status, _) in call_five_times(&url).await {
        assert_eq!(status, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(warehouse.asked.load(Ordering::Relaxed), 5);
    server.abort();
}

#[tokio::test]
async fn with_the_layer_the_fourth_call_is_rejected_at_once() {
    let (listener, url) = listener().await;
    let warehouse = Arc::new(Warehouse::default());
    let open_when = OpenWhen::consecutive_failures(3).unwrap();
    let server = tokio::spawn(serve_protected(listener, warehouse.clone(), open_when));
    let answers = call_five_times(&url).await;
    for (status, _) in &answers[..3] {
        assert_eq!(*status, StatusCode::BAD_GATEWAY);
    }
    for (status, headers) in &answers[3..] {
        assert_eq!(*status, StatusCode::SERVICE_UNAVAILABLE);
        let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
    }
    assert_eq!(warehouse.asked.load(Ordering::Relaxed), 3);
    server.abort();
}
