//! What spans are called, what they say, and what they hang from.
#![cfg(feature = "opentelemetry")]

mod exported;

use std::time::Duration;

use bytes::Bytes;
use exported::{attribute, attributes, is_error, span_of, spans_of};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use opentelemetry::trace::SpanKind;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, Clock, LayerExt, TraceIds};
use towerkit_http::{Grpc, Http, HttpExt};
use towerkit_trace::{Propagation, Sampler, TraceContext, TraceLayer};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

async fn ok<B>(_request: Request<B>) -> Result<Response<Full<Bytes>>, BoxError> {
    Ok(Response::new(Full::from("hello")))
}

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

fn with_parent(parent: &'static str) -> Request<()> {
    let mut request = Request::new(());
    let parent = HeaderValue::from_static(parent);
    request.headers_mut().insert("traceparent", parent);
    request
}

#[test]
fn a_server_span_goes_on_from_the_remote_context() {
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
            "http.response.body.size=5",
            "http.response.status_code=200",
            "http.route=/users/{id}",
        ]
    );
}

/// TR-07
#[test]
fn a_name_has_nothing_that_a_caller_made_up() {
    let span = span_of(async || {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::from_bytes(b"FOO").unwrap();
        *request.uri_mut() = "/a/b/c?d=e".parse().unwrap();
        call(TraceLayer::server().http(), request, 200).await;
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

#[test]
fn a_callers_mistake_is_an_error_of_the_client_and_not_of_the_server() {
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
fn grpc(
    layer: TraceLayer,
    code: &'static str,
    in_trailers: bool,
) -> opentelemetry_sdk::trace::SpanData {
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
            "rpc.response.status_code=OK",
            "rpc.system.name=grpc",
        ];
        assert_eq!(attributes(&good), said);

        let bad = grpc(TraceLayer::client(), "14", in_trailers);
        assert!(is_error(&bad));
        assert_eq!(attribute(&bad, "error.type").unwrap(), "UNAVAILABLE");
        assert_eq!(
            attribute(&bad, "rpc.response.status_code").unwrap(),
            "UNAVAILABLE"
        );

        let unknown = grpc(TraceLayer::server(), "12", in_trailers);
        assert_eq!(unknown.name, "_OTHER", "nobody knows the method");
        assert_eq!(
            grpc(TraceLayer::client(), "12", in_trailers).name,
            "shop.Orders/Place"
        );

        assert!(!is_error(&grpc(TraceLayer::server(), "5", in_trailers)));
        assert!(is_error(&grpc(TraceLayer::client(), "5", in_trailers)));
    }
}

/// TR-03
#[test]
fn a_call_that_is_cancelled_has_no_status_but_an_error() {
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
fn a_call_that_is_not_sampled_leaves_no_span_but_a_context() {
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

#[test]
fn a_decision_of_the_caller_is_followed() {
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

/// A7.1
#[test]
fn one_trace_leads_from_the_client_through_the_front_to_the_backend() {
    let spans = spans_of(async || {
        let backend = ServiceBuilder::new()
            .layer(TraceLayer::server().http())
            .service_fn(ok);
        let to_backend = ServiceBuilder::new()
            .layer(TraceLayer::client().http())
            .service(backend);
        let front = ServiceBuilder::new()
            .layer(TraceLayer::server().http())
            .service_fn(move |_request: Request<()>| to_backend.clone().oneshot(Request::new(())));
        let client = ServiceBuilder::new()
            .layer(TraceLayer::client().http())
            .service(front);
        let response = client.oneshot(Request::new(())).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    let kinds: Vec<_> = spans.iter().map(|span| span.span_kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            SpanKind::Server,
            SpanKind::Client,
            SpanKind::Server,
            SpanKind::Client
        ]
    );
    for (child, parent) in spans.iter().zip(&spans[1..]) {
        assert_eq!(
            child.span_context.trace_id(),
            parent.span_context.trace_id()
        );
        assert_eq!(child.parent_span_id, parent.span_context.span_id());
    }
}

/// A7.6
#[test]
fn each_attempt_has_a_span_inside_that_of_the_call() {
    let spans = spans_of(async || {
        let attempts = ServiceBuilder::new()
            .layer(TraceLayer::client().http())
            .service_fn(ok);
        let call = ServiceBuilder::new()
            .layer(TraceLayer::internal().plain("buy"))
            .service_fn(async |()| {
                for attempt in [None, Some("1"), Some("2")] {
                    let mut request = Request::new(());
                    if let Some(attempt) = attempt {
                        let attempt = HeaderValue::from_static(attempt);
                        request.headers_mut().insert("x-retry-attempt", attempt);
                    }
                    let response = attempts.clone().oneshot(request).await?;
                    response.into_body().collect().await?;
                }
                Ok::<_, BoxError>(())
            });
        call.oneshot(()).await.unwrap();
    });
    let [attempts @ .., call] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(call.name, "buy");
    assert_eq!(call.span_kind, SpanKind::Internal);
    let resent: Vec<_> = attempts
        .iter()
        .map(|attempt| attribute(attempt, "http.request.resend_count"))
        .collect();
    assert_eq!(resent, [None, Some("1".to_owned()), Some("2".to_owned())]);
    for attempt in attempts {
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
    }
}

/// TR-05
#[test]
fn an_untrusted_caller_is_linked_to_and_decides_nothing() {
    let layer = TraceLayer::server().untrusted();
    let span = span_of(async || call(layer.clone().http(), with_parent(PARENT), 200).await);
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
    let links: Vec<_> = span
        .links
        .iter()
        .map(|link| link.span_context.clone())
        .collect();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].trace_id().to_string(), TRACE);
    assert_eq!(links[0].span_id().to_string(), SPAN);

    let never = layer.sampler(Sampler::never()).http();
    assert!(spans_of(async || call(never, with_parent(PARENT), 200).await).is_empty());
}

/// TR-05
#[test]
fn callers_have_no_more_traces_recorded_than_the_cap_allows() {
    let (clock, hand) = Clock::manual();
    let layer = TraceLayer::server().sampler(Sampler::never()).clock(clock);
    let layer = layer.remote_cap(5).unwrap().http();
    let recorded = |layer: &TraceLayer<Http>| {
        let layer = layer.clone();
        let spans = spans_of(async move || {
            for _ in 0..100 {
                call(layer.clone(), with_parent(PARENT), 200).await;
            }
        });
        assert!(
            spans
                .iter()
                .all(|span| span.span_context.trace_id().to_string() == TRACE)
        );
        spans.len()
    };
    assert_eq!(recorded(&layer), 5);
    assert_eq!(recorded(&layer), 0, "clones of the layer share the cap");
    hand.advance(Duration::from_secs(1));
    assert_eq!(recorded(&layer), 5);
}

/// TR-08
#[test]
fn every_child_of_interleaved_calls_belongs_to_its_own() {
    const CALLS: usize = 1000;
    let spans = spans_of(async || {
        let client = ServiceBuilder::new()
            .layer(TraceLayer::client().plain("child"))
            .service_fn(async |turns: usize| {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                Ok::<_, BoxError>(())
            });
        let server = ServiceBuilder::new()
            .layer(TraceLayer::server().plain("parent"))
            .service_fn(async |call: usize| {
                let ids = TraceIds::current();
                for turn in 0..2 {
                    tokio::task::yield_now().await;
                    client.clone().oneshot((call + turn) % 7).await?;
                    assert_eq!(TraceIds::current(), ids);
                }
                Ok::<_, BoxError>(())
            });
        let calls = (0..CALLS).map(|call| Box::pin(server.clone().oneshot(call)));
        let mut running: Vec<_> = calls.collect();
        std::future::poll_fn(|cx| {
            running.retain_mut(|call| call.as_mut().poll(cx).is_pending());
            if running.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    });
    assert_eq!(spans.len(), 3 * CALLS);
    let parents: std::collections::HashMap<_, _> = spans
        .iter()
        .filter(|span| span.name == "parent")
        .map(|span| (span.span_context.trace_id(), span.span_context.span_id()))
        .collect();
    assert_eq!(parents.len(), CALLS);
    for child in spans.iter().filter(|span| span.name == "child") {
        assert_eq!(
            parents[&child.span_context.trace_id()],
            child.parent_span_id
        );
    }
}

#[test]
fn a_spawned_task_takes_its_call_along() {
    let spans = spans_of(async || {
        let client = ServiceBuilder::new()
            .layer(TraceLayer::client().http())
            .service_fn(ok);
        let server = ServiceBuilder::new()
            .layer(TraceLayer::server().plain("parent"))
            .service_fn(async |()| {
                let context = TraceContext::current().unwrap();
                let call = client.clone().oneshot(Request::new(()));
                let task = tokio::spawn(context.scope(async { call.await.map(drop) }));
                task.await?
            });
        server.oneshot(()).await.unwrap();
    });
    let [child, parent] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(child.parent_span_id, parent.span_context.span_id());
    assert_eq!(
        child.span_context.trace_id(),
        parent.span_context.trace_id()
    );
}

#[test]
fn a_span_between_is_the_parent_of_a_call() {
    let spans = spans_of(async || {
        let client = ServiceBuilder::new()
            .layer(TraceLayer::client().plain("child"))
            .service_fn(async |()| Ok::<_, BoxError>(()));
        let server = ServiceBuilder::new()
            .layer(TraceLayer::server().plain("parent"))
            .service_fn(async |()| {
                use tracing::Instrument;
                let between = tracing::info_span!("between");
                client.clone().oneshot(()).instrument(between).await
            });
        server.oneshot(()).await.unwrap();
    });
    let [child, between, parent] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(child.parent_span_id, between.span_context.span_id());
    assert_eq!(between.parent_span_id, parent.span_context.span_id());
}

#[test]
fn what_the_sdk_does_not_record_is_not_said_to_be_recorded() {
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
