//! The JSON of the [Zipkin API, version 2](https://zipkin.io/zipkin-api/), by the [mapping] of the OpenTelemetry specification.
//!
//! [mapping]: https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Array, KeyValue, StringValue, Value,
    trace::{Event, SpanId, SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;
use serde_json::{Number, Value as Json};

/// Encodes the spans of a service as a JSON list.
pub(crate) fn encode(spans: &[SpanData], service: &str) -> serde_json::Result<Vec<u8>> {
    let spans: Vec<_> = spans
        .iter()
        .map(|span| ZipkinSpan::new(span, service))
        .collect();
    serde_json::to_vec(&spans)
}

/// A span of Zipkin. The mapping requires to omit absent values. A span is never `shared`, because each call has its own span.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    timestamp: u64,
    duration: u64,
    local_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
}

#[derive(Serialize)]
struct Annotation {
    timestamp: u64,
    value: String,
}

impl<'a> ZipkinSpan<'a> {
    fn new(span: &'a SpanData, service: &'a str) -> Self {
        let duration = span.end_time.duration_since(span.start_time);
        let parent = Some(span.parent_span_id).filter(|parent| *parent != SpanId::INVALID);
        Self {
            trace_id: span.span_context.trace_id().to_string(),
            id: span.span_context.span_id().to_string(),
            parent_id: parent.map(|parent| parent.to_string()),
            name: &span.name,
            kind: kind(&span.span_kind),
            timestamp: timestamp(span.start_time),
            duration: micros(duration.unwrap_or_default()),
            local_endpoint: Endpoint {
                service_name: service,
            },
            remote_endpoint: remote_endpoint(span),
            annotations: span.events.iter().map(Annotation::new).collect(),
            tags: tags(span),
        }
    }
}

fn kind(kind: &SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Server => Some("SERVER"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
        SpanKind::Internal => None,
    }
}

fn timestamp(time: SystemTime) -> u64 {
    micros(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns whole microseconds, at least 1: Zipkin treats 0 as a missing time.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Returns the called service, for the graph of services: the value of the first attribute that the span has.
fn remote_endpoint(span: &SpanData) -> Option<Endpoint<'_>> {
    if !matches!(span.span_kind, SpanKind::Client | SpanKind::Producer) {
        return None;
    }
    let of = |name| {
        let mut pairs = span.attributes.iter();
        pairs.find(|pair| pair.key.as_str() == name)
    };
    // The second and the third are from earlier conventions, which other instrumentations may still use.
    let names = [
        "server.service.name",
        "service.peer.name",
        "peer.service",
        "server.address",
    ];
    let found = names.into_iter().find_map(of)?;
    match &found.value {
        Value::String(name) => Some(Endpoint {
            service_name: name.as_str(),
        }),
        _ => None,
    }
}

fn tags(span: &SpanData) -> BTreeMap<&str, Cow<'_, str>> {
    let pairs = span.attributes.iter();
    // Zipkin would show an attribute `error` of the program as a failure.
    let pairs = pairs.filter(|pair| pair.key.as_str() != "error");
    let mut tags: BTreeMap<_, _> = pairs.map(|pair| (pair.key.as_str(), text(pair))).collect();
    match &span.status {
        Status::Unset => {}
        Status::Ok => drop(tags.insert("otel.status_code", "OK".into())),
        Status::Error { description } => {
            tags.insert("otel.status_code", "ERROR".into());
            tags.insert("error", description.as_ref().into());
        }
    }
    let scope = &span.instrumentation_scope;
    if !scope.name().is_empty() {
        tags.insert("otel.scope.name", scope.name().into());
    }
    if let Some(version) = scope.version() {
        tags.insert("otel.scope.version", version.into());
    }
    let dropped = [
        (
            "otel.dropped_attributes_count",
            span.dropped_attributes_count,
        ),
        ("otel.dropped_events_count", span.events.dropped_count),
        ("otel.dropped_links_count", span.links.dropped_count),
    ];
    for (name, count) in dropped.into_iter().filter(|(_, count)| *count > 0) {
        tags.insert(name, count.to_string().into());
    }
    tags
}

/// Returns the value of an attribute as the text of a tag; a list becomes JSON.
fn text(pair: &KeyValue) -> Cow<'_, str> {
    match &pair.value {
        Value::String(text) => text.as_str().into(),
        Value::Array(_) => json(&pair.value).to_string().into(),
        value => value.to_string().into(),
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => number(*value),
        Value::String(value) => value.as_str().into(),
        Value::Array(Array::Bool(values)) => values.iter().copied().map(Json::Bool).collect(),
        Value::Array(Array::I64(values)) => values.iter().copied().map(Json::from).collect(),
        Value::Array(Array::F64(values)) => values.iter().copied().map(number).collect(),
        Value::Array(Array::String(values)) => values.iter().map(StringValue::as_str).collect(),
        value => value.to_string().into(),
    }
}

/// Returns a JSON number, or a string for NaN and infinities, which JSON lacks.
fn number(value: f64) -> Json {
    Number::from_f64(value).map_or_else(|| value.to_string().into(), Json::Number)
}

impl Annotation {
    /// Creates the annotation of an event: `"name": {"key": "value"}`, or the name if it has no attributes.
    fn new(event: &Event) -> Self {
        let value = if event.attributes.is_empty() {
            event.name.to_string()
        } else {
            let pairs = event.attributes.iter();
            let pairs: serde_json::Map<_, _> = pairs
                .map(|pair| (pair.key.to_string(), json(&pair.value)))
                .collect();
            format!("{}: {}", Json::from(&*event.name), Json::from(pairs))
        };
        Self {
            timestamp: timestamp(event.timestamp),
            value,
        }
    }
}

#[cfg(test)]
mod tests;
