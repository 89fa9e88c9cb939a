//! The attributes and metrics that calls really leave, against our table of the semantic conventions: a name that is deprecated, unknown or
//! not for calls of this kind fails, and so does one that is required and not there, or opt-in and there unasked.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, LayerExt};
use towerkit_http::{Grpc, Http};
use towerkit_metrics::{Buckets, MetricsLayer};
use towerkit_opentelemetry::{
    OtelMeter,
    opentelemetry::{
        metrics::MeterProvider,
        trace::{SpanKind, TracerProvider},
    },
    opentelemetry_sdk::{
        metrics::{
            InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
            data::{AggregatedMetrics, MetricData},
        },
        trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
    },
};
use towerkit_trace::TraceLayer;
use tracing_subscriber::layer::SubscriberExt;

const TABLE: &str = include_str!("conventions.tsv");

/// The policy stacks of the table that have so many columns.
fn stacks<const N: usize>() -> impl Iterator<Item = [&'static str; N]> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok())
}

/// The kinds of spans, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    HttpServer = 2,
    HttpClient,
    GrpcServer,
    GrpcClient,
}

/// The conventions for an attribute of a span.
fn requirement(attribute: &str, column: Column) -> &'static str {
    let mut stacks = stacks::<6>();
    let policies = stacks.find(|[name, ..]| match name.strip_suffix('.') {
        Some(template) => attribute
            .strip_prefix(template)
            .is_some_and(|key| key.starts_with('.')),
        None => attribute == *name,
    });
    policies.unwrap_or_else(|| panic!("the conventions do not know {attribute:?}"))[column as usize]
}

#[test]
fn the_table_has_each_name_once_and_no_deprecated_ones() {
    let mut names = HashSet::new();
    for [name, stability, requirements @ ..] in stacks::<6>() {
        assert!(
            names.insert(name) && ["stable", "development"].contains(&stability),
            "{name}"
        );
        let known = [
            "required",
            "conditional",
            "recommended",
            "opt-in",
            "below",
            "-",
        ];
        assert!(
            requirements
                .iter()
                .all(|requirement| known.contains(requirement)),
            "{name}"
        );
    }
    for [name, stability, kind, _unit] in stacks::<4>() {
        assert!(
            names.insert(name) && ["stable", "development"].contains(&stability),
            "{name}"
        );
        assert!(["sum", "histogram"].contains(&kind), "{name}");
    }
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.count(), names.len());
}

/// Answers as the path of the request says: with a status of HTTP, or a code of gRPC in the trailers.
async fn answer(
    request: Request<()>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, BoxError>>, BoxError> {
    let code: u16 = request.uri().path().rsplit('/').next().unwrap().parse()?;
    let mut response = Response::new(());
    let mut trailers = HeaderMap::new();
    if request.headers().contains_key("content-type") {
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        trailers.insert("grpc-status", code.into());
    } else {
        *response.status_mut() = http::StatusCode::from_u16(code)?;
    }
    let body = Full::<Bytes>::from("hello").with_trailers(async { Some(Ok(trailers)) });
    Ok(response.map(|()| body.map_err(BoxError::from).boxed()))
}

/// Makes calls of all kinds through layers that record everything, or only the defaults.
fn calls(is_all: bool) -> (Vec<SpanData>, InMemoryMetricExporter) {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let layer = towerkit_trace::otel_layer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let metrics = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(metrics.clone()).build();
    let meters = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = OtelMeter::new(meters.meter("test"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(call_all(&meter, is_all)));
    meters.force_flush().unwrap();
    (spans.get_finished_spans().unwrap(), metrics)
}

async fn call_all(meter: &OtelMeter, is_all: bool) {
    let trace = |layer: TraceLayer| match is_all {
        true => layer
            .record_body_size()
            .record_headers(&["x-tenant"])
            .unwrap(),
        false => layer,
    };
    let metrics = |layer: MetricsLayer| {
        let layer = layer.registry(meter.clone());
        match is_all {
            true => layer.time_to_head().body_sizes(Buckets::default()),
            false => layer,
        }
    };
    let http = |codes: [u16; 4], method: &'static str| {
        codes.map(|code| {
            let uri = format!("http://shop.example:8080/a/{code}?page=2");
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header("x-tenant", "ann")
                .header("content-length", "5");
            request.header("x-retry-attempt", "1").body(()).unwrap()
        })
    };
    let grpc = [0, 1, 5, 12, 14].map(|code| {
        let uri = format!("http://shop.example:50051/shop.Orders/{code}");
        let request = Request::post(uri).header("content-type", "application/grpc");
        request
            .header("x-tenant", "ann")
            .header("x-retry-attempt", "1")
            .body(())
            .unwrap()
    });
    let protocol = Http::new().operation(|_| "/a/{code}");
    for (traced, measured) in [
        (TraceLayer::server(), MetricsLayer::new()),
        (TraceLayer::client(), MetricsLayer::new().client()),
    ] {
        let over_http = ServiceBuilder::new()
            .layer(trace(traced.clone()).protocol(protocol))
            .layer(metrics(measured.clone()).protocol(protocol))
            .service_fn(answer);
        let requests = http([200, 302, 404, 503], "GET").into_iter();
        for request in requests.chain(http([200, 404, 429, 500], "FOO")) {
            let response = over_http.clone().oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        let over_grpc = ServiceBuilder::new()
            .layer(trace(traced).protocol(Grpc::new()))
            .layer(metrics(measured).protocol(Grpc::new()))
            .service_fn(answer);
        for request in grpc.clone() {
            let response = over_grpc.clone().oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    }
    let plain = ServiceBuilder::new()
        .layer(trace(TraceLayer::internal()).plain("buy"))
        .layer(metrics(MetricsLayer::new()).plain("buy"))
        .service_fn(async |()| Ok::<_, BoxError>(()));
    plain.oneshot(()).await.unwrap();
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span
        .attributes
        .iter()
        .find(|pair| pair.key.as_str() == name);
    found.map(|pair| pair.value.to_string())
}

/// Checks a span against the table; returns its attributes.
fn check(span: &SpanData, column: Column, is_all: bool) -> BTreeSet<String> {
    let keys: Vec<_> = span
        .attributes
        .iter()
        .map(|pair| pair.key.to_string())
        .collect();
    let names: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(
        names.len(),
        keys.len(),
        "an attribute is there twice: {keys:?}"
    );
    for name in &names {
        let requirement = requirement(name, column);
        assert_ne!(requirement, "-", "{name} on {column:?}");
        // The program says the operations of its client, and with them asks for templates.
        let is_asked_for = is_all || name == "url.template";
        assert!(
            requirement != "opt-in" || is_asked_for,
            "{name} on {column:?}"
        );
    }
    for [name, ..] in stacks::<6>() {
        if requirement(name, column) == "required" {
            assert!(names.contains(name), "{name} on {column:?}: {names:?}");
        }
    }
    let original = ["http.request.method", "rpc.method"].map(|name| {
        let is_other = attribute(span, name).as_deref() == Some("_OTHER");
        assert_eq!(
            is_other,
            names.contains(&format!("{name}_original")),
            "{names:?}"
        );
        is_other
    });
    if original[1] {
        assert_eq!(span.name, "grpc");
    }
    names
}

#[test]
fn spans_have_the_attributes_of_the_conventions() {
    for is_all in [false, true] {
        let (spans, _) = calls(is_all);
        let mut seen = BTreeMap::new();
        for span in spans {
            let is_grpc = attribute(&span, "rpc.system.name").is_some();
            let column = match (&span.span_kind, is_grpc) {
                (SpanKind::Server, false) => Column::HttpServer,
                (SpanKind::Client, false) => Column::HttpClient,
                (SpanKind::Server, true) => Column::GrpcServer,
                (SpanKind::Client, true) => Column::GrpcClient,
                _ => {
                    assert!(span.attributes.is_empty(), "{span:?}");
                    continue;
                }
            };
            let names: &mut BTreeSet<_> = seen.entry(column as usize).or_default();
            names.extend(check(&span, column, is_all));
        }
        assert_eq!(seen.len(), 4, "calls of all kinds were seen");
        let all: BTreeSet<_> = seen.into_values().flatten().collect();
        if is_all {
            let unseen = stacks::<6>().map(|[name, ..]| name);
            let unseen: Vec<_> = unseen
                .filter(|name| !all.iter().any(|seen| seen.starts_with(name)))
                .collect();
            assert!(
                unseen.is_empty(),
                "in the table, and on no span: {unseen:?}"
            );
        }
    }
}

#[test]
fn metrics_have_the_names_of_the_conventions_or_are_in_our_namespace() {
    let (_, exporter) = calls(true);
    let mut seen = BTreeSet::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(
            towerkit_opentelemetry::opentelemetry_sdk::metrics::data::ScopeMetrics::metrics,
        ) {
            let (kind, attributes) = points(metric.data());
            let is_own = metric.name().starts_with("towerkit.");
            if !is_own {
                let mut stacks = stacks::<4>();
                let policies = stacks.find(|[name, ..]| *name == metric.name());
                let policies = policies
                    .unwrap_or_else(|| panic!("the conventions do not know {:?}", metric.name()));
                assert_eq!(
                    [policies[2], policies[3]],
                    [kind, metric.unit()],
                    "{}",
                    metric.name()
                );
            }
            for name in attributes {
                let is_known = stacks::<6>().any(|[known, ..]| known == name);
                assert!(
                    is_known || name.starts_with("towerkit."),
                    "{name} on {}",
                    metric.name()
                );
            }
            seen.insert(metric.name().to_owned());
        }
    }
    let unseen: Vec<_> = stacks::<4>()
        .map(|[name, ..]| name)
        .filter(|name| !seen.contains(*name))
        .collect();
    assert!(
        unseen.is_empty(),
        "in the table, and not recorded: {unseen:?}"
    );
}

/// The kind of a metric, and the names of all attributes of its points.
fn points(data: &AggregatedMetrics) -> (&'static str, Vec<String>) {
    fn of<T: Copy>(data: &MetricData<T>) -> (&'static str, Vec<String>) {
        match data {
            MetricData::Sum(sum) => {
                let points = sum.data_points().flat_map(towerkit_opentelemetry::opentelemetry_sdk::metrics::data::SumDataPoint::attributes);
                ("sum", points.map(|pair| pair.key.to_string()).collect())
            }
            MetricData::Histogram(histogram) => {
                let points = histogram.data_points().flat_map(towerkit_opentelemetry::opentelemetry_sdk::metrics::data::HistogramDataPoint::attributes);
                (
                    "histogram",
                    points.map(|pair| pair.key.to_string()).collect(),
                )
            }
            _ => ("other", Vec::new()),
        }
    }
    match data {
        AggregatedMetrics::F64(data) => of(data),
        AggregatedMetrics::U64(data) => of(data),
        AggregatedMetrics::I64(data) => of(data),
    }
}

/// The `error.type` of each call, on its span and on its metric.
#[test]
fn a_span_and_its_metric_have_the_same_type_of_error() {
    let (spans, exporter) = calls(false);
    let key = |method: &str, code: &str, error: &str| format!("{method} {code} {error}");
    let mut of_spans = BTreeSet::new();
    for span in &spans {
        let method =
            attribute(span, "http.request.method").or_else(|| attribute(span, "rpc.system.name"));
        let code = attribute(span, "http.response.status_code")
            .or_else(|| attribute(span, "rpc.status_code"));
        let (Some(method), Some(code)) = (method, code) else {
            continue;
        };
        let side = if span.span_kind == SpanKind::Server {
            "server"
        } else {
            "client"
        };
        let error = attribute(span, "error.type").unwrap_or_default();
        of_spans.insert(key(&format!("{side} {method}"), &code, &error));
    }
    let mut of_metrics = BTreeSet::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(
            towerkit_opentelemetry::opentelemetry_sdk::metrics::data::ScopeMetrics::metrics,
        ) {
            let (AggregatedMetrics::F64(MetricData::Histogram(histogram)), name) =
                (metric.data(), metric.name())
            else {
                continue;
            };
            let Some(side) = ["server", "client"].into_iter().find(|side| {
                name == format!("http.{side}.request.duration")
                    || name == format!("rpc.{side}.call.duration")
            }) else {
                continue;
            };
            for point in histogram.data_points() {
                let said = |name: &str| {
                    let found = point.attributes().find(|pair| pair.key.as_str() == name);
                    found.map(|pair| pair.value.to_string())
                };
                let method = said("http.request.method")
                    .or_else(|| said("rpc.system.name"))
                    .unwrap();
                let code = said("http.response.status_code")
                    .or_else(|| said("rpc.status_code"))
                    .unwrap();
                let error = said("error.type").unwrap_or_default();
                of_metrics.insert(key(&format!("{side} {method}"), &code, &error));
            }
        }
    }
    assert_eq!(of_spans, of_metrics);
    assert_eq!(of_spans.len(), 2 * (8 + 5));
}
