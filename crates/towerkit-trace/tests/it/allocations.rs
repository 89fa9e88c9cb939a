//! An unrecorded call allocates nothing in the long run, also with a subscriber and the SDK.

use allocation_counter::measure;
use http::Request;
use tower::ServiceBuilder;
use towerkit_core::LayerExt;
use towerkit_http::HttpExt;
use towerkit_trace::{Sampler, TraceLayer};

use crate::calls::{answer_http, answer_plain, http, plain};

const NOT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Returns the allocations of a call after the first.
fn allocations(mut call: impl FnMut()) -> u64 {
    call();
    measure(call).count_total
}

fn request(parent: Option<&'static str>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(parent) = parent {
        let parent = http::HeaderValue::from_static(parent);
        request.headers_mut().insert("traceparent", parent);
    }
    request
}

/// Returns the allocations that the layer adds to a call over HTTP.
fn over_http(layer: &TraceLayer, parent: Option<&'static str>) -> u64 {
    let mut bare = answer_http();
    let mut traced = ServiceBuilder::new()
        .layer(layer.clone().http())
        .service(answer_http());
    let without = allocations(|| http(&mut bare, request(parent)));
    allocations(|| http(&mut traced, request(parent))) - without
}

fn over_plain(layer: &TraceLayer) -> u64 {
    let mut traced = ServiceBuilder::new()
        .layer(layer.clone().plain("probe"))
        .service(answer_plain());
    allocations(|| plain(&mut traced))
}

fn check() {
    let never = TraceLayer::server().sampler(Sampler::never());
    assert_eq!(over_http(&never, None), 0);
    assert_eq!(over_plain(&never), 0);
    assert_eq!(over_http(&TraceLayer::server(), Some(NOT)), 0);
    assert_eq!(over_http(&never.untrusted(), Some(RECORDED)), 0);
    let internal = TraceLayer::internal().sampler(Sampler::never());
    assert_eq!(over_plain(&internal), 0);
    // The field that a client writes: its value, and the table of a request that had no fields.
    let client = TraceLayer::client().sampler(Sampler::never());
    assert_eq!(over_plain(&client), 0);
    let written = over_http(&client, None);
    assert!((1..=3).contains(&written), "{written}");
}

#[test]
fn an_unrecorded_call_allocates_nothing() {
    check();
    let counted = measure(|| drop(std::hint::black_box(vec![1_u8])));
    assert_eq!(counted.count_total, 1, "the counter counts");
}

#[cfg(feature = "opentelemetry")]
#[test]
fn an_unrecorded_call_allocates_nothing_under_a_subscriber() {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = towerkit_trace::otel_layer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        check();
        assert!(exporter.get_finished_spans().unwrap().is_empty());
        assert!(
            over_plain(&TraceLayer::server()) > 0,
            "it would be recorded"
        );
        assert_eq!(exporter.get_finished_spans().unwrap().len(), 2);
    });
}

/// The future of a call is little larger than that of the inner service: by the ids, and by a pointer to the rest.
#[test]
fn futures_stay_small() {
    use tower::Service;

    let never = || TraceLayer::server().sampler(Sampler::never());
    let mut bare = answer_plain();
    let mut traced = ServiceBuilder::new()
        .layer(never().plain("probe"))
        .service(answer_plain());
    let plain = size_of_val(&traced.call(7)) - size_of_val(&bare.call(7));
    assert!(plain <= 40, "{plain} bytes over a plain service");
    let mut bare = answer_http();
    let mut traced = ServiceBuilder::new()
        .layer(never().http())
        .service(answer_http());
    let call = traced.call(request(None));
    let http = size_of_val(&call) - size_of_val(&bare.call(request(None)));
    assert!(http <= 56, "{http} bytes over a service of HTTP");
}
