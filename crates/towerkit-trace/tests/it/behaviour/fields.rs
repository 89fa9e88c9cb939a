//! Recorded request headers, and credentials, which are never recorded (LG-04).

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry_sdk::trace::SpanData;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::BoxError;
use towerkit_http::HttpExt;
use towerkit_trace::{Trace, TraceLayer};

use crate::exported::{attribute, span_of};

/// A call with these fields, through a layer that shows `shown`.
fn span(shown: &[&str], fields: &[(&str, &[u8])], is_grpc: bool) -> SpanData {
    let layer = TraceLayer::server().record_headers(shown).unwrap();
    let mut request = Request::post("/shop.Orders/Place?token=canary&sig=canary");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let answer = async |_: Request<()>| {
        let response = Response::builder().header("grpc-status", "0");
        Ok::<_, BoxError>(response.body(Full::<Bytes>::from("hello")).unwrap())
    };
    span_of(async || {
        if is_grpc {
            let service = ServiceBuilder::new().layer(layer.grpc());
            let response = service.service_fn(answer).oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        } else {
            let service: Trace<_, _> = ServiceBuilder::new().layer(layer.http()).service_fn(answer);
            let response = service.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    })
}

#[test]
fn only_the_selected_headers_are_recorded() {
    let fields: [(&str, &[u8]); 4] = [
        ("x-tenant", b"shop"),
        ("x-tenant", b"other"),
        ("user-agent", b"curl"),
        ("x-client", b"not asked for"),
    ];
    let http = span(&["X-Tenant", "user-agent", "accept"], &fields, false);
    let said = |span: &SpanData, name: &str| attribute(span, name);
    let tenants = Some(r#"["shop","other"]"#.to_owned());
    assert_eq!(said(&http, "http.request.header.x-tenant"), tenants);
    assert_eq!(
        said(&http, "http.request.header.user-agent").unwrap(),
        r#"["curl"]"#
    );
    assert_eq!(said(&http, "http.request.header.accept"), None);
    assert!(!format!("{http:?}").contains("not asked for"));
    let grpc = span(&["x-tenant"], &fields, true);
    assert_eq!(said(&grpc, "rpc.request.header.x-tenant"), tenants);
    assert!(!format!("{:?}", span(&[], &fields, false)).contains("shop\""));
}

#[test]
fn recorded_headers_are_bounded() {
    let long = "é".repeat(200);
    let fields: Vec<(&str, &[u8])> = (0..20).map(|_| ("x-tenant", long.as_bytes())).collect();
    let shown = span(&["x-tenant"], &fields, false);
    let shown = attribute(&shown, "http.request.header.x-tenant").unwrap();
    assert_eq!(shown.matches('é').count(), 8 * 128);
}

/// LG-04
#[test]
fn headers_with_credentials_are_rejected() {
    for name in [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-apikey",
        "x-auth-token",
        "x-csrf-token",
        "x-amz-security-token",
        "x-goog-signature",
        "x-session-id",
        "referer",
        "location",
        "www-authenticate",
        "x-client-secret",
        "password",
    ] {
        let rejected = TraceLayer::server()
            .record_headers(&["x-tenant", name])
            .unwrap_err();
        let expected = format!(
            "invalid record_headers {:?}: expected a header that carries no credentials",
            name.to_ascii_lowercase()
        );
        assert_eq!(rejected.to_string(), expected);
    }
    for name in ["", "a b", "näme", "a:b", "a\nb"] {
        assert!(TraceLayer::server().record_headers(&[name]).is_err());
    }
}

/// LG-04
#[test]
fn no_credential_is_on_a_span() {
    const JWT: &[u8] = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.canary";
    let secrets: [&[u8]; 7] = [
        b"Bearer canary",
        b"basic Y2FuYXJ5",
        JWT,
        b"https://user:canary@host/",
        b"/path?token=canary",
        b"/path?a=b&sig=canary",
        b"password=canary",
    ];
    for secret in secrets {
        let fields = [
            ("x-note", secret),
            ("authorization", secret),
            ("cookie", secret),
            ("x-api-key", secret),
        ];
        let span = span(&["x-note"], &fields, false);
        let shown = attribute(&span, "http.request.header.x-note").unwrap();
        assert_eq!(shown, r#"["REDACTED"]"#);
        let all = format!("{span:?}");
        for canary in ["canary", "Y2FuYXJ5", "eyJ"] {
            assert!(!all.contains(canary), "{all}");
        }
    }
}
