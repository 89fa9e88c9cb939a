use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{Status, TraceContextExt, TracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{self as sdk, Sampler, SdkTracerProvider, SpanData, SpanProcessor},
};
use tower::Layer;
use tower_otel::trace::{GrpcLayer, HttpLayer};
use towerkit_http::HttpExt;
use towerkit_trace::{TraceLayer, TraceParent};
use tracing::{Level, dispatcher::with_default};
use tracing_subscriber::layer::SubscriberExt;

use crate::{Bug, http_calls, http_calls::Frames};

const PEER: &str = "tower-otel";

pub(crate) fn bugs() -> Vec<Bug> {
    vec![
        trailers_are_not_read(),
        body_errors_are_silent(),
        callers_decide(),
        contexts_are_not_strict(),
    ]
}

/// gRPC says in trailers that a call has failed.
fn trailers_are_not_read() -> Bug {
    let failing = || {
        let status = HeaderMap::from_iter([("grpc-status", "13")].map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        }));
        http_calls::answering_grpc(Frames::of([&b"hello"[..]]).then_trailers(status))
    };
    let request = || {
        let mut request = http_calls::get("/package.Service/Method");
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        request
    };
    Bug {
        id: "TR-02",
        peer: PEER,
        what: "`GrpcLayer::server`, `grpc-status: 13` in trailers: status of the span",
        expected: "error",
        observed: status(|| {
            let service = GrpcLayer::server(Level::INFO).layer(failing());
            http_calls::call(service, request());
        }),
        ours: status(|| {
            let service = TraceLayer::server().grpc().layer(failing());
            http_calls::call(service, request());
        }),
    }
}

fn body_errors_are_silent() -> Bug {
    let broken = || http_calls::answering(Frames::of([&b"hello"[..]]).then_break());
    Bug {
        id: "TR-02",
        peer: PEER,
        what: "`HttpLayer::server`, the body of a 200 breaks off: status of the span",
        expected: "error",
        observed: status(|| {
            let service = HttpLayer::server(Level::INFO).layer(broken());
            http_calls::call(service, http_calls::get("/"));
        }),
        ours: status(|| {
            let service = TraceLayer::server().http().layer(broken());
            http_calls::call(service, http_calls::get("/"));
        }),
    }
}

/// A hundred callers that all ask for their traces to be recorded, within one second.
fn callers_decide() -> Bug {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let request = |nth: u32| {
        let mut request = http_calls::get("/");
        let parent = format!("00-{:032x}-00f067aa0ba902b7-01", nth + 1);
        let parent = HeaderValue::from_str(&parent).expect("digits");
        request.headers_mut().insert("traceparent", parent);
        request
    };
    let answering = || http_calls::answering(Frames::of([&b"hello"[..]]));
    let never = towerkit_trace::Sampler::never;
    Bug {
        id: "TR-05",
        peer: PEER,
        what: "100 of 100 callers set the flag `sampled`, nothing else is to be recorded: spans recorded",
        expected: "5, the cap",
        observed: recorded(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)), || {
            for nth in 0..100 {
                let service = HttpLayer::server(Level::INFO).layer(answering());
                http_calls::call(service, request(nth));
            }
        })
        .len()
        .to_string(),
        ours: recorded(Sampler::AlwaysOn, || {
            let layer = TraceLayer::server().sampler(never());
            let layer = layer.remote_sampling_limit(5).expect("a valid cap").http();
            for nth in 0..100 {
                http_calls::call(layer.layer(answering()), request(nth));
            }
        })
        .len()
        .to_string(),
    }
}

/// Values that the specification has a receiver ignore.
fn contexts_are_not_strict() -> Bug {
    const WRONG: [&str; 6] = [
        "ff-12345678901234567890123456789012-1234567890123456-01",
        "00-12345678901234567890123456789012-1234567890123456-01-what",
        "00-12345678901234567890123456789012-1234567890123456-01.",
        "00-ABCDEF78901234567890123456789012-1234567890123456-01",
        "00-12345678901234567890123456789012-1234567890123456-0X",
        " 00-12345678901234567890123456789012-1234567890123456-1",
    ];
    let theirs = |value: &&&str| {
        let carrier = HashMap::from([("traceparent".to_owned(), (**value).to_owned())]);
        let context = TraceContextPropagator::new().extract(&carrier);
        context.span().span_context().is_valid()
    };
    let ours = |value: &&&str| TraceParent::parse(value.as_bytes()).is_some();
    Bug {
        id: "TR-01",
        peer: "opentelemetry_sdk",
        what: "`TraceContextPropagator`, six values of `traceparent` that are to be ignored: taken",
        expected: "0",
        observed: WRONG.iter().filter(theirs).count().to_string(),
        ours: WRONG.iter().filter(ours).count().to_string(),
    }
}

/// The status of the one span that `run` makes.
fn status(run: impl FnOnce()) -> String {
    let spans = recorded(Sampler::AlwaysOn, run);
    match spans.first().map(|span| &span.status) {
        None => "no span",
        Some(Status::Unset) => "unset",
        Some(Status::Ok) => "ok",
        Some(Status::Error { .. }) => "error",
    }
    .to_owned()
}

/// Runs `run` under the OpenTelemetry SDK, and returns the spans that it recorded.
fn recorded(sampler: Sampler, run: impl FnOnce()) -> Vec<SpanData> {
    let sink = SpanSink::default();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(sink.clone())
        .with_sampler(sampler)
        .build();
    let layer = towerkit_trace::otel_layer(provider.tracer("peer_bugs"));
    let subscriber = tracing_subscriber::registry().with(layer);
    with_default(&tracing::Dispatch::new(subscriber), run);
    std::mem::take(&mut sink.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Collects the spans that have ended.
#[derive(Debug, Clone, Default)]
struct SpanSink(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for SpanSink {
    fn on_start(&self, _span: &mut sdk::Span, _context: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
