//! The layer that sends requests to one origin.

use std::future::ready;

use http::{Method, Request, uri::Authority};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_http::OriginLayer;

/// Returns the URI and the `Host` with which a request arrives.
async fn arrives(origin: &str, request: http::request::Builder) -> (String, Option<String>) {
    let service = OriginLayer::new(origin)
        .unwrap()
        .layer(service_fn(|request: Request<()>| {
            let host = request.headers().get("host");
            let host = host.map(|host| host.to_str().unwrap().to_owned());
            ready(Ok::<_, ()>((request.uri().to_string(), host)))
        }));
    service.oneshot(request.body(()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_request_keeps_its_path_and_its_query() {
    for (uri, arrived) in [
        ("/", "http://10.0.0.7:80/"),
        ("/a/b?c=d%20e", "http://10.0.0.7:80/a/b?c=d%20e"),
        ("https://elsewhere.example/a?b", "http://10.0.0.7:80/a?b"),
        ("elsewhere.example:81", "http://10.0.0.7:80/"),
        ("*", "http://10.0.0.7:80*"),
    ] {
        let (uri, host) = arrives("http://10.0.0.7:80", Request::get(uri)).await;
        assert_eq!((&*uri, host), (arrived, None));
    }
    for origin in ["[::1]:80", "http://[::1]:80", "http://[::1]:80/"] {
        let (uri, _) = arrives(origin, Request::get("/a")).await;
        assert_eq!(uri, "http://[::1]:80/a");
    }
    let (uri, _) = arrives("https://example.org", Request::get("/a")).await;
    assert_eq!(uri, "https://example.org/a");
}

#[tokio::test]
async fn a_host_of_the_request_is_replaced() {
    let request = Request::get("/").header("host", "proxy.example");
    let (_, host) = arrives("http://10.0.0.7:80", request).await;
    assert_eq!(host.as_deref(), Some("10.0.0.7:80"));
}

#[tokio::test]
async fn a_tunnel_keeps_its_target() {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("example.org:443")
        .header("host", "example.org:443");
    let (uri, host) = arrives("http://10.0.0.7:80", request).await;
    assert_eq!(uri, "example.org:443");
    assert_eq!(host.as_deref(), Some("example.org:443"));
}

#[test]
fn an_origin_is_a_scheme_and_an_authority() {
    let authority: Authority = "10.0.0.7:80".parse().unwrap();
    let uri = http::uri::Builder::new().authority(authority).build();
    assert!(OriginLayer::new(uri.unwrap()).is_ok());
    for invalid in [
        "",
        "/",
        "/a",
        "http://a/b",
        "http://a/?b",
        "http://u:p@a",
        "a b",
        "http://",
    ] {
        let error = OriginLayer::new(invalid).unwrap_err().to_string();
        let expected =
            format!("invalid origin {invalid:?}: expected a URI such as `http://10.0.0.7:80`");
        assert_eq!(error, expected);
    }
}
