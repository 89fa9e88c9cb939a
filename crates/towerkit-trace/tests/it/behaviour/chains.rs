//! How spans hang together: across services, attempts, tasks and threads, and at the edge.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use opentelemetry::trace::SpanKind;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, Clock, LayerExt, TraceIds};
use towerkit_http::{Http, HttpExt};
use towerkit_retry::RetryLayer;
use towerkit_trace::{Sampler, TraceContext, TraceLayer};

use crate::exported::{PARENT, SPAN, TRACE, attribute, ok, span_of, spans_of, with_parent};

/// Calls through the layer and reads the answer.
async fn call(layer: TraceLayer<Http>, request: Request<()>) {
    let service = ServiceBuilder::new().layer(layer).service_fn(ok);
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// A7.1
#[test]
fn one_trace_connects_the_client_the_front_end_and_the_backend() {
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

/// A7.6, RT-12
#[test]
fn each_attempt_has_a_span_inside_that_of_the_call() {
    let spans = spans_of(async || {
        let asked = AtomicU32::new(0);
        let client = ServiceBuilder::new()
            .layer(TraceLayer::internal().plain("buy"))
            .layer(RetryLayer::new().http())
            .layer(TraceLayer::client().http())
            .service_fn(async |_: Request<Empty<Bytes>>| {
                let mut response = Response::new(Full::<Bytes>::from("hello"));
                if asked.fetch_add(1, Ordering::Relaxed) < 2 {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                Ok::<_, BoxError>(response)
            });
        let response = client.oneshot(Request::new(Empty::new())).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    let call = spans.iter().find(|span| span.name == "buy").unwrap();
    assert_eq!(call.span_kind, SpanKind::Internal);
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "GET").collect();
    assert_eq!(attempts.len(), spans.len() - 1);
    for attempt in &attempts {
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
        assert_eq!(attempt.span_kind, SpanKind::Client);
    }
    let said = |name| {
        attempts
            .iter()
            .map(|attempt| attribute(attempt, name))
            .collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        said("http.request.resend_count"),
        [None, some("1"), some("2")]
    );
    assert_eq!(said("error.type"), [some("503"), some("503"), None]);
    assert_eq!(
        said("http.response.status_code"),
        [some("503"), some("503"), some("200")]
    );
}

/// A7.7
#[test]
fn calls_of_one_operation_have_one_name() {
    let protocol = Http::new().operation(|_| "/orders/{id}");
    let layer = TraceLayer::server().protocol(protocol);
    let spans = spans_of(async || {
        let service = ServiceBuilder::new().layer(layer).service_fn(ok);
        for order in 0..100 {
            let mut request = Request::new(());
            *request.uri_mut() = format!("/orders/{order}").parse().unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    });
    assert_eq!(spans.len(), 100);
    assert!(spans.iter().all(|span| span.name == "GET /orders/{id}"));
}

/// TR-05
#[test]
fn an_untrusted_context_is_only_linked() {
    let layer = TraceLayer::server().untrusted();
    let span = span_of(async || call(layer.clone().http(), with_parent(PARENT)).await);
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
    assert!(spans_of(async || call(never, with_parent(PARENT)).await).is_empty());
}

/// TR-05
#[test]
fn sampled_callers_are_limited_per_second() {
    let (clock, clock_control) = Clock::manual();
    let layer = TraceLayer::server().sampler(Sampler::never()).clock(clock);
    let layer = layer.remote_sampling_limit(5).unwrap().http();
    let recorded = |layer: &TraceLayer<Http>| {
        let layer = layer.clone();
        let spans = spans_of(async move || {
            for _ in 0..100 {
                call(layer.clone(), with_parent(PARENT)).await;
            }
        });
        assert!(
            spans
                .iter()
                .all(|span| span.span_context.trace_id().to_string() == TRACE)
        );
        spans.len()
    };
    // All of them say that they are recorded, and 5 in a second are.
    assert_eq!(recorded(&layer), 5);
    assert_eq!(recorded(&layer), 0, "clones of the layer share the cap");
    clock_control.advance(Duration::from_secs(1));
    assert_eq!(recorded(&layer), 5);
}

/// TR-08
#[test]
fn children_of_interleaved_calls_belong_to_their_own_call() {
    const CALLS: usize = 10_000;
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
    let parents: HashMap<_, _> = spans
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
fn a_spawned_task_keeps_the_context_of_its_call() {
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
fn an_intermediate_span_is_the_parent_of_a_call() {
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
