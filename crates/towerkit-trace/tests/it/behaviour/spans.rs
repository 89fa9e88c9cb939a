//! The names, the attributes and the parents of spans.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use crate::exported::{
    PARENT, SPAN, TRACE, attribute, attributes, is_error, ok, span_of, spans_of, with_parent,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tower::{Layer, ServiceBuilder, ServiceExt};
use towerkit_core::{
    BoxError, ErrorCode, Failer, LayerExt, Plain, ProtocolKind, Rejection, RejectionReason,
    TraceIds,
};
use towerkit_endpoint::{RpcError, RpcExt, UnknownMethod, endpoint_fn};
use towerkit_http::{Grpc, Http, HttpExt};
use towerkit_trace::{Propagation, Sampler, TraceContext, TraceLayer};

/// Calls through the layer and reads the answer, which has this status.
async fn call(layer: TraceLayer<Http>, request: Request<()>, status: u16) {
    let service = ServiceBuilder::new()
        .layer(layer)
        .service_fn(move |_| async move {
            let mut response = Response::new(Full::<Bytes>::from("hello"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, BoxError>(response)
        });
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// A7.3
#[test]
fn a_server_span_continues_the_remote_context() {
    let spans = spans_of(async || {
        let protocol = Http::new().operation(|_| "/users/{id}");
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().protocol(protocol))
            .service_fn(async |request| {
                tracing::info_span!("inner").in_scope(|| ());
                ok(request).await
            });
        let mut request = with_parent(PARENT);
        *request.uri_mut() = "/users/7?token=secret".parse().unwrap();
        let host = HeaderValue::from_static("shop.example:8080");
        request.headers_mut().insert("host", host);
        let response = service.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    let [inner, server] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(server.name, "GET /users/{id}");
    assert_eq!(server.span_kind, SpanKind::Server);
    assert_eq!(server.parent_span_id.to_string(), SPAN);
    assert_eq!(server.span_context.trace_id().to_string(), TRACE);
    assert_eq!(inner.parent_span_id, server.span_context.span_id());
    assert_eq!(
        attributes(server),
        [
            "http.request.method=GET",
            "http.response.status_code=200",
            "http.route=/users/{id}",
            "server.address=shop.example",
            "server.port=8080",
            "url.path=/users/7",
            "url.query=token=REDACTED",
            "url.scheme=http",
        ]
    );
}

/// A7.3
#[test]
fn a_client_span_has_the_address_of_the_server() {
    let request = || {
        Request::get("https://ann:secret@stock.example/items?sig=secret")
            .body(())
            .unwrap()
    };
    let said = |layer: TraceLayer| {
        let span = span_of(async || call(layer.http(), request(), 200).await);
        assert!(!format!("{span:?}").contains("secret"));
        attributes(&span)
    };
    let rest = ["http.request.method=GET", "http.response.status_code=200"];
    let server = ["server.address=stock.example", "server.port=443"];
    let url = ["url.full=https://REDACTED:REDACTED@stock.example/items?sig=REDACTED"];
    assert_eq!(
        said(TraceLayer::client()),
        [&rest[..], &server, &url].concat()
    );
    assert_eq!(
        said(TraceLayer::client().without_url()),
        [&rest[..], &server].concat()
    );
    assert_eq!(
        said(TraceLayer::client().without_server()),
        [&rest[..], &url].concat()
    );
    let fewest = TraceLayer::server().without_url().without_server();
    assert_eq!(said(fewest), rest);
    assert_eq!(said(TraceLayer::internal()), rest);
}

/// As tonic's clients make them.
#[test]
fn the_layer_sets_the_address_for_requests_without_an_authority() {
    let layer = TraceLayer::client().authority("orders.internal:50051");
    let said = |span: &SpanData| {
        ["server.address", "server.port"].map(|name| attribute(span, name).unwrap_or_default())
    };
    let span = grpc(layer.clone(), "0", true);
    assert_eq!(said(&span), ["orders.internal", "50051"]);
    let request = Request::get("http://stock/").body(()).unwrap();
    let span = span_of(async || call(layer.http(), request, 200).await);
    assert_eq!(said(&span), ["stock", "80"], "the request says it");
}

/// A7.3
#[test]
fn a_server_behind_a_proxy_records_the_original_scheme() {
    for (forwarded, expected) in [("https", "https"), ("gopher", "http")] {
        let request = Request::get("/").header("x-forwarded-proto", forwarded);
        let request = request.body(()).unwrap();
        let span = span_of(async || call(TraceLayer::server().http(), request, 200).await);
        assert_eq!(attribute(&span, "url.scheme").unwrap(), expected);
        assert_eq!(attribute(&span, "server.address"), None);
        assert_eq!(attribute(&span, "server.port"), None);
    }
}

/// TR-07, A7.3
#[test]
fn a_span_name_contains_no_text_from_the_caller() {
    let span = span_of(async || {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::from_bytes(b"FOO").unwrap();
        *request.uri_mut() = "/a/b/c?d=e".parse().unwrap();
        call(TraceLayer::server().without_url().http(), request, 200).await;
    });
    assert_eq!(span.name, "HTTP");
    assert_eq!(attribute(&span, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(
        attribute(&span, "http.request.method_original").unwrap(),
        "FOO"
    );
    assert_eq!(attribute(&span, "http.route"), None);
    let all = format!("{span:?}");
    assert!(!all.contains("/a/b/c") && !all.contains("d=e"), "{all}");
}

/// A7.4
#[test]
fn a_client_error_is_an_error_only_on_the_client_span() {
    for (layer, status, expected) in [
        (TraceLayer::server(), 404, false),
        (TraceLayer::client(), 404, true),
        (TraceLayer::server(), 429, false),
        (TraceLayer::client(), 429, true),
        (TraceLayer::server(), 503, true),
        (TraceLayer::client(), 503, true),
        (TraceLayer::server(), 302, false),
    ] {
        let span = span_of(async || call(layer.clone().http(), Request::new(()), status).await);
        assert_eq!(is_error(&span), expected, "{status}");
        let error = attribute(&span, "error.type");
        assert_eq!(error, expected.then(|| status.to_string()));
    }
}

/// How a gRPC call is told of that ends so: in the headers, or in the trailers.
fn grpc(layer: TraceLayer, code: &'static str, in_trailers: bool) -> SpanData {
    span_of(async || {
        let service = ServiceBuilder::new()
            .layer(layer.protocol(Grpc::new()))
            .service_fn(async |_request: Request<()>| {
                let status = HeaderMap::from_iter([(
                    "grpc-status".parse().unwrap(),
                    HeaderValue::from_static(code),
                )]);
                let (head, trailers) = if in_trailers {
                    (HeaderMap::new(), Some(status))
                } else {
                    (status, None)
                };
                let body = Full::<Bytes>::from("hello").with_trailers(async { trailers.map(Ok) });
                let mut response = Response::new(body);
                *response.headers_mut() = head;
                Ok::<_, BoxError>(response)
            });
        let request = Request::post("/shop.Orders/Place").body(()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    })
}

#[test]
fn a_grpc_code_comes_from_the_headers_or_the_trailers() {
    for in_trailers in [false, true] {
        let good = grpc(TraceLayer::server(), "0", in_trailers);
        assert_eq!(good.name, "shop.Orders/Place");
        assert!(!is_error(&good));
        let said = [
            "rpc.method=shop.Orders/Place",
            "rpc.status_code=OK",
            "rpc.system.name=grpc",
        ];
        assert_eq!(attributes(&good), said);

        let bad = grpc(TraceLayer::client(), "14", in_trailers);
        assert!(is_error(&bad));
        assert_eq!(attribute(&bad, "error.type").unwrap(), "UNAVAILABLE");
        assert_eq!(attribute(&bad, "rpc.status_code").unwrap(), "UNAVAILABLE");

        assert!(!is_error(&grpc(TraceLayer::server(), "5", in_trailers)));
        assert!(is_error(&grpc(TraceLayer::client(), "5", in_trailers)));
    }
}

#[test]
fn an_unknown_grpc_method_is_other_with_its_original_name() {
    for in_trailers in [false, true] {
        let unknown = grpc(TraceLayer::server(), "12", in_trailers);
        assert_eq!(unknown.name, "grpc");
        let said = |name| attribute(&unknown, name).unwrap();
        assert_eq!(said("rpc.method"), "_OTHER");
        assert_eq!(said("rpc.method_original"), "shop.Orders/Place");
        assert_eq!(said("error.type"), "UNIMPLEMENTED");
        let client = grpc(TraceLayer::client(), "12", in_trailers);
        assert_eq!(
            client.name, "shop.Orders/Place",
            "its own program chose the name"
        );
        assert_eq!(attribute(&client, "rpc.method_original"), None);
    }
}

#[test]
fn a_cancelled_grpc_call_is_an_error_only_on_the_client_span() {
    for in_trailers in [false, true] {
        let server = grpc(TraceLayer::server(), "1", in_trailers);
        assert!(!is_error(&server));
        assert_eq!(attribute(&server, "error.type"), None);
        assert_eq!(attribute(&server, "rpc.status_code").unwrap(), "CANCELLED");
        let client = grpc(TraceLayer::client(), "1", in_trailers);
        assert_eq!(attribute(&client, "error.type").unwrap(), "CANCELLED");
    }
    for (layer, error) in [
        (TraceLayer::server(), None),
        (TraceLayer::client(), Some("cancelled")),
    ] {
        let span = span_of(async || {
            let service = ServiceBuilder::new().layer(layer.grpc()).service_fn(
                async |_request: Request<()>| {
                    std::future::pending::<()>().await;
                    ok(Request::new(())).await
                },
            );
            let call = service.oneshot(Request::post("/shop.Orders/Place").body(()).unwrap());
            assert!(
                tokio::time::timeout(Duration::from_secs(1), call)
                    .await
                    .is_err()
            );
        });
        assert_eq!(attribute(&span, "error.type").as_deref(), error);
        assert_eq!(span.name, "shop.Orders/Place");
        assert_eq!(attribute(&span, "rpc.method").unwrap(), "shop.Orders/Place");
    }
}

/// TR-03
#[test]
fn a_cancelled_call_has_an_error_type_and_no_status() {
    let span = span_of(async || {
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().http())
            .service_fn(async |_request: Request<()>| {
                std::future::pending::<()>().await;
                ok(Request::new(())).await
            });
        let call = service.oneshot(Request::new(()));
        let result = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(result.is_err());
    });
    assert!(is_error(&span));
    assert_eq!(attribute(&span, "error.type").unwrap(), "cancelled");
    assert_eq!(attribute(&span, "http.response.status_code"), None);

    let cut_off = span_of(async || {
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().http())
            .service_fn(ok);
        drop(service.oneshot(Request::new(())).await.unwrap());
    });
    assert!(is_error(&cut_off));
    assert_eq!(attribute(&cut_off, "error.type").unwrap(), "cancelled");
    assert_eq!(
        attribute(&cut_off, "http.response.status_code").unwrap(),
        "200",
        "it was sent"
    );
}

#[test]
fn an_unsampled_call_has_a_context_and_no_span() {
    let spans = spans_of(async || {
        let server = TraceLayer::server().sampler(Sampler::never()).http();
        let service = ServiceBuilder::new()
            .layer(server)
            .service_fn(async |request| {
                let context = TraceContext::current().unwrap();
                assert!(!context.parent().flags.is_sampled());
                tracing::info_span!("inner").in_scope(|| ());
                ok(request).await
            });
        service.oneshot(Request::new(())).await.unwrap();
    });
    assert!(spans.is_empty(), "{spans:#?}");
}

/// A7.2
#[test]
fn the_sampling_decision_of_the_caller_is_followed() {
    const NOT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    for (parent, expected) in [(PARENT, 1), (NOT, 0)] {
        for sampler in [Sampler::always(), Sampler::never()] {
            let layer = TraceLayer::server().sampler(sampler).http();
            let spans = spans_of(async || call(layer, with_parent(parent), 200).await);
            assert_eq!(spans.len(), expected);
        }
    }
    for (decision, expected) in [("0", 0), ("1", 1)] {
        let layer = TraceLayer::server()
            .propagation(&[Propagation::B3Single])
            .http();
        let spans = spans_of(async || {
            let request = Request::get("/").header("b3", decision).body(()).unwrap();
            call(layer, request, 200).await;
        });
        assert_eq!(spans.len(), expected);
    }
}

/// An answer of go-kit's kind, perhaps with an error of the business inside.
struct Answer(Option<std::fmt::Error>);

impl Failer for Answer {
    fn failed(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

/// A7.4
#[test]
fn a_business_failure_is_an_error_if_it_is_classified_as_one() {
    for (error, is_failure) in [(None, false), (Some(std::fmt::Error), true)] {
        let span = span_of(async || {
            let service = ServiceBuilder::new()
                .layer(TraceLayer::server().protocol(Plain::new("buy").by_failer()))
                .service_fn(async |()| Ok::<_, BoxError>(Answer(error)));
            service.oneshot(()).await.unwrap();
        });
        assert_eq!(is_error(&span), is_failure);
        let said = is_failure.then(|| "failure".to_owned());
        assert_eq!(attribute(&span, "error.type"), said);
    }
}

/// A7.4
#[test]
fn a_rejection_has_its_reason() {
    let span = span_of(async || {
        let rejected = || Rejection::new(RejectionReason::Overloaded, "limit");
        let service = ServiceBuilder::new()
            .layer(TraceLayer::client().plain("buy"))
            .service_fn(async |()| Err::<(), BoxError>(rejected().into()));
        service.oneshot(()).await.unwrap_err();
    });
    assert!(is_error(&span));
    assert_eq!(attribute(&span, "error.type").unwrap(), "overloaded");
    assert_eq!(described(&span), "rejected: overloaded");
}

#[test]
fn a_panic_is_recorded_as_a_failure() {
    let span = span_of(async || {
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().plain("buy"))
            .service_fn(async |()| -> Result<(), BoxError> { panic!("by intention") });
        let mut call = pin!(service.oneshot(()));
        let mut cx = Context::from_waker(Waker::noop());
        let poll = AssertUnwindSafe(|| call.as_mut().poll(&mut cx).map(drop));
        assert!(catch_unwind(poll).is_err());
    });
    assert_eq!(attribute(&span, "error.type").unwrap(), "failure");
    assert_eq!(described(&span), "the service panicked");
}

fn described(span: &SpanData) -> &str {
    match &span.status {
        Status::Error { description } => description,
        other => panic!("{other:?}"),
    }
}

/// A7.3
#[test]
fn numbers_are_numbers() {
    let span = span_of(async || {
        let mut request = Request::new(());
        let attempt = HeaderValue::from_static("2");
        request.headers_mut().insert("x-retry-attempt", attempt);
        *request.uri_mut() = "http://stock:81/".parse().unwrap();
        call(TraceLayer::client().record_body_size().http(), request, 503).await;
    });
    for (name, expected) in [
        ("server.port", 81),
        ("http.response.status_code", 503),
        ("http.response.body.size", 5),
        ("http.request.resend_count", 2),
    ] {
        let found = span
            .attributes
            .iter()
            .find(|pair| pair.key.as_str() == name);
        assert_eq!(
            found.unwrap().value,
            opentelemetry::Value::I64(expected),
            "{name}"
        );
    }
}

#[test]
fn a_span_has_no_code_attributes() {
    let span = span_of(async || call(TraceLayer::server().http(), Request::new(()), 200).await);
    for name in ["target", "code.file.path", "thread.id", "busy_ns"] {
        assert_eq!(attribute(&span, name), None);
    }
}

#[test]
fn a_span_that_the_sdk_drops_has_no_sampled_flag() {
    use opentelemetry::trace::TracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff)
        .build();
    let tracer = provider.tracer("test");
    let subscriber = tracing_subscriber::registry().with(towerkit_trace::otel_layer(tracer));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().plain("op"))
            .service_fn(async |()| Ok::<_, BoxError>(TraceIds::current().unwrap()));
        let ids = runtime.block_on(service.oneshot(())).unwrap();
        assert!(!ids.is_sampled());
    });
}

#[test]
fn an_empty_body_ends_the_span_with_the_head() {
    let span = span_of(async || {
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().http())
            .service_fn(async |_: Request<()>| {
                Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
            });
        let response = service.oneshot(Request::new(())).await.unwrap();
        drop(response);
    });
    assert!(!is_error(&span));
}

/// A call of JSON-RPC, as `towerkit-transport-jsonrpc` makes it.
fn json_rpc_span(layer: TraceLayer, operation: &'static str, unknown: Option<&str>) -> SpanData {
    let code = ErrorCode::InvalidArgument;
    let fail = endpoint_fn((), move |(), ()| async move {
        Err::<(), _>(RpcError::new(code, "no"))
    });
    let service = layer.rpc().layer(fail);
    let mut request = towerkit_endpoint::Request::new(operation, ());
    request.protocol = ProtocolKind::JsonRpc;
    request
        .headers
        .insert("host", "add.example:8081".parse().unwrap());
    if let Some(unknown) = unknown {
        request.extensions.insert(UnknownMethod(unknown.into()));
    }
    span_of(async move || {
        service.oneshot(request).await.unwrap_err();
    })
}

/// The conventions for JSON-RPC.
#[test]
fn a_call_of_json_rpc_has_its_method_and_the_number_of_its_error() {
    for (layer, kind) in [
        (TraceLayer::server(), SpanKind::Server),
        (TraceLayer::client(), SpanKind::Client),
    ] {
        let span = json_rpc_span(layer, "sum", None);
        assert_eq!((&*span.name, &span.span_kind), ("sum", &kind));
        assert_eq!(
            attributes(&span),
            [
                "error.type=-32602",
                "rpc.method=sum",
                "rpc.status_code=-32602",
                "rpc.system.name=jsonrpc",
                "server.address=add.example",
                "server.port=8081",
            ]
        );
        let version = attribute(&span, "jsonrpc.protocol.version");
        assert_eq!(version.as_deref(), Some("2.0"));
        assert!(is_error(&span));
    }
    let long = "é".repeat(1000);
    let span = json_rpc_span(TraceLayer::server(), "unmatched", Some(&long));
    assert_eq!(span.name, "jsonrpc");
    assert_eq!(attribute(&span, "rpc.method").unwrap(), "_OTHER");
    let original = attribute(&span, "rpc.method_original").unwrap();
    assert!(original.len() <= 128 && original.starts_with("éé"));
}
