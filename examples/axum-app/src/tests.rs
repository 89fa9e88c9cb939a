//! What the layer adds, seen by a client over a socket.

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, task::AbortHandle};
use towerkit_ratelimit::Quota;

use super::{app, protected_app};

struct Server {
    client: Client<HttpConnector, Empty<&'static [u8]>>,
    url: String,
    task: AbortHandle,
}

impl Server {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hello/Ann", listener.local_addr().unwrap());
        let served = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url,
            task: served.abort_handle(),
        }
    }

    async fn get(&self) -> (StatusCode, HeaderMap, String) {
        let response = self.client.get(self.url.parse().unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            head.status,
            head.headers,
            String::from_utf8_lossy(&body).into_owned(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn without_the_layer_everyone_is_served() {
    let server = Server::start(app()).await;
    for _ in 0..10 {
        let (status, _, body) = server.get().await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "hello, Ann"));
    }
}

#[tokio::test]
async fn with_the_layer_who_comes_too_soon_is_told_when_to_return() {
    let hour = Duration::from_secs(3600);
    let quota = Quota::new(1, hour).unwrap().burst(2).unwrap();
    let server = Server::start(protected_app(quota)).await;
    for _ in 0..2 {
        let (status, _, body) = server.get().await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "hello, Ann"));
    }
    let (status, headers, body) = server.get().await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert!(body.contains("\"status\":429"), "{body}");
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
}
