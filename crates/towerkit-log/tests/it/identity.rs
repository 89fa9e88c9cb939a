//! Fields that identify a call among those of its operation.

use std::{
    convert::Infallible,
    net::{Ipv6Addr, SocketAddr},
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::LayerExt;
use towerkit_http::{Http, HttpExt, PeerAddress};
use towerkit_log::{Format, LogLayer, Redaction, subscriber};
use towerkit_test::{Action, Probe, run_paused};
use tracing::level_filters::LevelFilter;

use crate::{
    capture::{Capture, Seen},
    page::written_by,
    read::pairs,
};

async fn answer(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

/// Calls, and reads the response to its end.
async fn serve<S, B>(service: S, request: Request<()>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

async fn logged(layer: LogLayer, request: Request<()>) -> Seen {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    serve(layer.http().layer(service_fn(answer)), request).await;
    log.only()
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

#[tokio::test]
async fn only_a_call_without_a_route_logs_its_path() {
    let seen = logged(LogLayer::new(), get("/no/such/path?token=1")).await;
    assert_eq!(seen.field("operation"), Some("unmatched"));
    assert_eq!(seen.field("path"), Some("/no/such/path"));

    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let routed = Http::new().operation(|_| "/users/{id}");
    let service = LogLayer::new().protocol(routed).layer(service_fn(answer));
    serve(service, get("/users/1")).await;
    assert_eq!(log.only().field("path"), None);
    let plain = LogLayer::new().plain("probe").layer(Probe::new());
    plain.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(log.only().field("path"), None);
}

#[tokio::test]
async fn a_long_path_and_a_long_request_id_are_truncated_with_a_mark() {
    let path = "/segment".repeat(1000);
    let mut request = get(&path);
    let id = "0123456789".repeat(20).parse().unwrap();
    request.headers_mut().insert("x-request-id", id);
    let seen = logged(LogLayer::new(), request).await;
    let expected = format!("{}/...[+6983 bytes]", "/segment".repeat(127));
    assert_eq!(seen.field("path"), Some(&*expected));
    let id = seen.field("request_id").unwrap();
    assert_eq!(id.len(), 128 + "...[+72 bytes]".len());
    assert!(id.ends_with("01234567...[+72 bytes]"), "{id}");
}

#[tokio::test]
async fn a_call_logs_its_client_address_and_request_id() {
    let mut request = get("/");
    let seen = logged(LogLayer::new(), request.clone()).await;
    assert_eq!(seen.field("client_address"), None);
    assert_eq!(seen.field("request_id"), None);

    let id = "7f3a-\u{e9}".parse();
    request.headers_mut().insert("x-request-id", id.unwrap());
    let seen = logged(LogLayer::new(), request.clone()).await;
    assert_eq!(seen.field("request_id"), None, "it is no text");

    let mapped = std::net::Ipv4Addr::new(192, 0, 2, 60).to_ipv6_mapped();
    for (address, expected) in [(mapped, "192.0.2.60"), (Ipv6Addr::LOCALHOST, "::1")] {
        let id = "7f3a".parse().unwrap();
        request.headers_mut().insert("x-request-id", id);
        let peer = PeerAddress(SocketAddr::from((address, 443)));
        request.extensions_mut().insert(peer);
        let seen = logged(LogLayer::new(), request.clone()).await;
        assert_eq!(seen.field("client_address"), Some(expected));
        assert_eq!(seen.field("request_id"), Some("7f3a"));
    }
}

#[derive(Clone)]
struct Tenant(&'static str);

#[tokio::test]
async fn an_application_adds_fields() {
    let layer = LogLayer::new()
        .field("tenant", |call| {
            let tenant: &Tenant = call.part::<Extensions>()?.get()?;
            Some(tenant.0.into())
        })
        .field("fails", |_| panic!("no value"))
        .field("agent", |call| call.header("user-agent").map(Into::into))
        .field("length", |call| Some(call.path()?.len().to_string().into()));
    let mut request = get("/abc");
    let agent = "curl/8".parse().unwrap();
    request.headers_mut().insert("user-agent", agent);
    request.extensions_mut().insert(Tenant("acme"));
    let seen = logged(layer.clone(), request).await;
    let own: Vec<_> = seen.fields.iter().rev().take(3).rev().collect();
    let expected = [("tenant", "acme"), ("agent", "curl/8"), ("length", "4")];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(own, expected.iter().collect::<Vec<_>>());

    // A later call, and a layer without fields, log no value of an earlier call.
    let seen = logged(layer, get("/")).await;
    assert_eq!((seen.field("tenant"), seen.field("agent")), (None, None));
    assert_eq!(seen.field("length"), Some("1"));
    let seen = logged(LogLayer::new(), get("/")).await;
    assert_eq!(seen.field("length"), None);
}

#[tokio::test]
async fn a_field_replaces_an_earlier_one_of_the_same_name() {
    let layer = LogLayer::new()
        .field("tenant", |_| Some("first".into()))
        .field("request_id", |_| Some("mine".into()))
        .field("client_address", |_| None)
        .field("path", |_| Some("/hidden".into()))
        .field("tenant", |_| Some("second".into()));
    let mut request = get("/");
    let id = "theirs".parse().unwrap();
    request.headers_mut().insert("x-request-id", id);
    let peer = PeerAddress(SocketAddr::from(([192, 0, 2, 60], 443)));
    request.extensions_mut().insert(peer);
    let seen = logged(layer, request).await;
    assert_eq!(seen.field("request_id"), Some("mine"));
    assert_eq!(seen.field("client_address"), None);
    assert_eq!(seen.field("path"), Some("/hidden"));
    let tenants: Vec<_> = seen
        .fields
        .iter()
        .filter(|field| field.0 == "tenant")
        .collect();
    assert_eq!(tenants, [&("tenant", "second".to_owned())]);
}

#[tokio::test]
async fn the_number_of_extra_fields_is_unlimited() {
    const NAMES: [&str; 40] = [
        "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4",
        "b5", "b6", "b7", "b8", "b9", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9",
        "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9",
    ];
    let add = |layer: LogLayer, name: &'static str| layer.field(name, move |_| Some(name.into()));
    let seen = logged(NAMES.into_iter().fold(LogLayer::new(), add), get("/")).await;
    assert!(NAMES.iter().all(|name| seen.field(name) == Some(name)));
}

/// Both by the layer that writes lines and by any other: here a name that a line has already, and secrets.
#[test]
fn fields_of_the_application_are_escaped_and_redacted() {
    let layer = LogLayer::new()
        .field("status", |_| Some("a\nlevel=error".into()))
        .field("msg", |_| Some("https://ann:secret@example.org/".into()))
        .field("session_token", |_| Some("secret".into()))
        .field("a b", |_| Some("".into()));
    for format in [Format::Logfmt, Format::Json] {
        let dispatch = |writer| {
            let redaction = Redaction::new().field("request_id").field("operation");
            let subscriber = subscriber(format).redaction(redaction);
            subscriber.writer(writer).dispatch()
        };
        let text = written_by(dispatch, || {
            let mut request = get("/reset/token=secret");
            let id = "secret".parse().unwrap();
            request.headers_mut().insert("x-request-id", id);
            let service = layer.clone().http().layer(service_fn(answer));
            run_paused(serve(service, request));
        });
        assert!(
            !text.contains("secret") && text.lines().count() == 1,
            "{text}"
        );
        let pairs = pairs(format, text.trim_end());
        let field = |name: &str| {
            let pair = pairs.iter().find(|pair| pair.0 == name);
            pair.unwrap_or_else(|| panic!("no {name} in {text}"))
                .1
                .as_str()
        };
        assert_eq!(field("level"), "info");
        assert_eq!(
            (field("status"), field("status_2")),
            ("200", "a\nlevel=error")
        );
        assert_eq!(
            (field("msg"), field("msg_2")),
            ("call", "https://REDACTED@example.org/")
        );
        assert_eq!(
            (field("operation"), field("request_id")),
            ("REDACTED", "REDACTED")
        );
        assert_eq!(field("path"), "/reset/token=REDACTED");
        assert_eq!(field("session_token"), "REDACTED");
        let names: Vec<_> = pairs.iter().map(|pair| pair.0.as_str()).collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len(), "{names:?}");
    }
}
