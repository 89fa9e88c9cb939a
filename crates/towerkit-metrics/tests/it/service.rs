//! The service that Prometheus asks.

use axum::{Router, body::Body, routing::get_service};
use http::{
    Request, StatusCode,
    header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, VARY},
};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;
use towerkit_metrics::{Buckets, Registry};

use crate::scrape::{Scraped, open::Open};

/// A8.1
#[tokio::test]
async fn a_router_serves_the_metrics() {
    let registry = Registry::new();
    let router = Router::new().route_service("/metrics", registry.service());
    let words = registry.counter("words_total", "Wörter.", &[]);
    words.unwrap().add(3);
    let response = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let content_type = &response.headers()[CONTENT_TYPE];
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let scraped = Scraped::parse(std::str::from_utf8(&body).unwrap());
    assert_eq!(scraped.value("words_total", &[]), Some(3.0));
    assert_eq!(scraped.help("words_total"), Some("Wörter."));
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let service = Registry::new().service();
    let call = |method: &str| {
        service
            .clone()
            .oneshot(Request::builder().method(method).body(()).unwrap())
    };
    let head = call("HEAD").await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let page = call("GET").await.unwrap();
    let length = page.into_body().collect().await.unwrap().to_bytes().len();
    assert_eq!(head.headers()[CONTENT_LENGTH], length.to_string());
    assert!(http_body::Body::is_end_stream(head.body()));
    let rejected = call("POST").await.unwrap();
    assert_eq!(rejected.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(rejected.headers()[ALLOW], "GET, HEAD");
}

/// The frames are bounded for any number of series, and together equal the text that is written at once.
#[tokio::test]
async fn a_large_scrape_is_written_in_chunks_as_it_is_read() {
    const MOST: usize = 32 * 1024 + 4096;
    let registry = Registry::new();
    for route in 0..2000 {
        let route = format!("/route/{route}");
        let labels = [("route", route.as_str())];
        let histogram = registry.histogram("h_seconds", "Waits.", &labels, &Buckets::default());
        histogram.unwrap().observe(0.3);
        registry.gauge("g", "", &labels).unwrap().set(1);
    }
    for accept in ["text/plain", "application/openmetrics-text"] {
        let call = |method: &str| {
            let request = Request::builder().method(method).header(ACCEPT, accept);
            registry.service().oneshot(request.body(()).unwrap())
        };
        let mut body = call("GET").await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), None);
        let (mut text, mut pieces) = (String::new(), 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!((1..MOST).contains(&piece.len()), "{}", piece.len());
            text.push_str(std::str::from_utf8(&piece).unwrap());
            pieces += 1;
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
        let whole = match accept {
            "text/plain" => registry.render(),
            _ => registry.render_open_metrics(),
        };
        assert!(text == whole && pieces > 20, "{pieces} pieces");
        let head = call("HEAD").await.unwrap();
        assert_eq!(head.headers().get(CONTENT_LENGTH), None);
        assert!(head.body().is_end_stream());
        // A router derives a missing length from that of the body.
        let router = Router::new().route("/metrics", get_service(registry.service()));
        let request = Request::head("/metrics").header(ACCEPT, accept);
        let head = router.oneshot(request.body(Body::empty()).unwrap()).await;
        assert_eq!(head.unwrap().headers().get(CONTENT_LENGTH), None);
    }
    let text = sent(&registry, "HEAD").await;
    assert!(
        text.starts_with("HTTP/1.1 200") && !text.contains("content-length"),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

/// Returns the bytes of a response of a server.
async fn sent(registry: &Registry, method: &str) -> String {
    let router = Router::new().route("/metrics", get_service(registry.service()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let request =
        format!("{method} /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    server.abort();
    text
}

/// A value is read when it is written, and a series that comes later is not in it.
#[tokio::test]
async fn a_scrape_has_the_series_of_its_start_with_current_values() {
    let registry = Registry::new();
    let counters: Vec<_> = (0..4000)
        .map(|n| {
            let n = format!("{n:04}");
            registry.counter("c_total", "", &[("n", &n)]).unwrap()
        })
        .collect();
    let service = registry.service();
    let response = service.oneshot(Request::new(())).await.unwrap();
    registry.counter("d_total", "", &[]).unwrap().add(1);
    registry
        .counter("c_total", "", &[("n", "later")])
        .unwrap()
        .add(1);
    counters.iter().for_each(|counter| counter.add(1));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let scraped = Scraped::parse(std::str::from_utf8(&body).unwrap());
    assert_eq!(
        (scraped.series("c_total"), scraped.series("d_total")),
        (4000, 0)
    );
    assert_eq!(scraped.value("c_total", &[("n", "3999")]), Some(1.0));
}

#[tokio::test]
async fn the_accept_header_selects_the_format() {
    let registry = Registry::new();
    registry.counter("words_total", "", &[]).unwrap().add(3);
    let scrape = async |accept: Option<&str>| {
        let mut request = Request::get("/metrics");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let response = registry.service().oneshot(request.body(()).unwrap());
        let response = response.await.unwrap();
        assert_eq!(response.headers()[VARY], "accept");
        let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap();
        let content_type = content_type.to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (content_type, String::from_utf8(body.to_vec()).unwrap())
    };
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let (content_type, text) = scrape(Some(prometheus)).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(content_type, expected);
    assert_eq!(Open::parse(&text).value("words_total", &[]), Some(3.0));
    for accept in [None, Some("*/*"), Some("text/plain")] {
        let (content_type, text) = scrape(accept).await;
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(Scraped::parse(&text).value("words_total", &[]), Some(3.0));
    }
}
