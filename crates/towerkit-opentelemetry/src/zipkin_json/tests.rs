//! Checks each field of the specification in the output of the encoder, read back by a JSON parser.

use std::collections::HashSet;

use opentelemetry::{
    InstrumentationScope, Key, TraceFlags, TraceId, Value,
    trace::{SpanContext, TraceState},
};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::Value as Json;

use super::*;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(12),
        ..ProptestConfig::default()
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = "\\PC{0,6}|[\"\\\\\u{0}-\u{1f}\u{7f}\u{2028}]{0,4}";
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        text.prop_map(|text| Value::String(text.into())),
        prop::collection::vec(any::<i64>(), 0..3).prop_map(|list| Value::Array(Array::I64(list))),
        prop::collection::vec(any::<f64>(), 0..3).prop_map(|list| Value::Array(Array::F64(list))),
        prop::collection::vec(text, 0..3).prop_map(|list| {
            Value::Array(Array::String(list.into_iter().map(Into::into).collect()))
        }),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        Just("error".to_owned()),
        Just("peer.service".to_owned()),
        Just("server.address".to_owned()),
        "[a-c.\"]{0,3}",
    ];
    let pair = (key, value()).prop_map(|(key, value)| KeyValue::new(Key::from(key), value));
    prop::collection::vec(pair, 0..4)
}

/// Nanoseconds since the epoch.
fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn kinds() -> impl Strategy<Value = SpanKind> {
    use SpanKind::{Client, Consumer, Internal, Producer, Server};
    prop::sample::select(vec![Client, Server, Producer, Consumer, Internal])
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Unset),
        Just(Status::Ok),
        "\\PC{0,4}".prop_map(Status::error),
    ]
}

prop_compose! {
    fn event()(name in "\\PC{0,5}", at in 0..u64::MAX / 4, attributes in attributes()) -> Event {
        Event::new(name, time(at), attributes, 0)
    }
}

prop_compose! {
    fn span()(
        (trace, id, parent) in (1..u128::MAX, 1..u64::MAX, prop_oneof![Just(0), any::<u64>()]),
        (start, took) in (prop_oneof![0..5_000_u64, 0..u64::MAX / 4], prop_oneof![0..5_000_i64, -9_000_000..i64::MAX / 4]),
        name in "\\PC{0,8}",
        (kind, status) in (kinds(), status()),
        (attributes, events) in (attributes(), prop::collection::vec(event(), 0..2)),
        dropped in prop::array::uniform3(0_u32..3),
    ) -> SpanData {
        let context = SpanContext::new(
            TraceId::from_bytes(trace.to_be_bytes()),
            SpanId::from_bytes(id.to_be_bytes()),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let mut data = SpanData {
            span_context: context,
            parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: time(start),
            end_time: time(start.saturating_add_signed(took)),
            attributes,
            dropped_attributes_count: dropped[0],
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("scope").build(),
        };
        data.events.events = events;
        data.events.dropped_count = dropped[1];
        data.links.dropped_count = dropped[2];
        data
    }
}

/// Microseconds by another computation: from the remainder.
fn model_micros(nanos: u128) -> u64 {
    let left = nanos % 1000;
    let micros = u64::try_from((nanos - left) / 1000).unwrap();
    if micros == 0 { 1 } else { micros }
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// Lower-case digits of that length, as a number.
fn number_of(id: &Json, length: usize) -> u128 {
    let id = id.as_str().unwrap();
    assert!(
        id.len() == length && id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')),
        "{id}"
    );
    u128::from_str_radix(id, 16).unwrap()
}

/// The fields and types that the OpenAPI description of Zipkin allows.
fn check_shape(span: &Json) {
    for (name, value) in span.as_object().unwrap() {
        let is_good = match name.as_str() {
            "traceId" | "id" | "parentId" | "name" | "kind" => value.is_string(),
            "timestamp" | "duration" => value.as_u64().is_some_and(|number| number > 0),
            "localEndpoint" | "remoteEndpoint" => {
                value.as_object().unwrap().keys().eq(["serviceName"])
                    && value["serviceName"].is_string()
            }
            "tags" => value.as_object().unwrap().values().all(Json::is_string),
            "annotations" => value.as_array().unwrap().iter().all(|one| {
                one.as_object().unwrap().len() == 2
                    && one["timestamp"].is_u64()
                    && one["value"].is_string()
            }),
            _ => false,
        };
        assert!(is_good, "{name}: {value}");
    }
}

fn check_tags(span: &SpanData, tags: &Json) {
    let tags = tags.as_object().unwrap();
    let mut expected: HashSet<&str> = ["otel.scope.name"].into();
    expected.extend(
        span.attributes
            .iter()
            .map(|pair| pair.key.as_str())
            .filter(|key| *key != "error"),
    );
    match &span.status {
        Status::Unset => {}
        Status::Ok => {
            expected.insert("otel.status_code");
            assert_eq!(tags["otel.status_code"], "OK");
        }
        Status::Error { description } => {
            expected.extend(["otel.status_code", "error"]);
            assert_eq!(tags["otel.status_code"], "ERROR");
            assert_eq!(tags["error"], **description);
        }
    }
    let dropped = [
        (
            "otel.dropped_attributes_count",
            span.dropped_attributes_count,
        ),
        ("otel.dropped_events_count", span.events.dropped_count),
        ("otel.dropped_links_count", span.links.dropped_count),
    ];
    for (name, count) in dropped.into_iter().filter(|(_, count)| *count != 0) {
        expected.insert(name);
        assert_eq!(tags[name], count.to_string());
    }
    assert_eq!(
        tags.keys().map(String::as_str).collect::<HashSet<_>>(),
        expected
    );
    // The last of several values counts.
    let last: BTreeMap<&str, &Value> = span
        .attributes
        .iter()
        .map(|pair| (pair.key.as_str(), &pair.value))
        .collect();
    for (key, value) in last.into_iter().filter(|(key, _)| *key != "error") {
        let tag = tags[key].as_str().unwrap();
        match value {
            Value::Array(Array::I64(list)) => {
                assert_eq!(&serde_json::from_str::<Vec<i64>>(tag).unwrap(), list);
            }
            Value::Array(Array::String(list)) => {
                let read: Vec<String> = serde_json::from_str(tag).unwrap();
                assert!(
                    read.iter()
                        .map(String::as_str)
                        .eq(list.iter().map(StringValue::as_str))
                );
            }
            Value::Array(_) => assert!(serde_json::from_str::<Vec<Json>>(tag).is_ok()),
            value => assert_eq!(tag, value.to_string()),
        }
    }
}

fn check_annotations(span: &SpanData, annotations: &Json) {
    let annotations = annotations.as_array().map_or(&[][..], |list| &list[..]);
    assert_eq!(annotations.len(), span.events.len());
    for (annotation, event) in annotations.iter().zip(span.events.iter()) {
        assert_eq!(
            annotation["timestamp"],
            model_micros(nanos(event.timestamp))
        );
        let said = annotation["value"].as_str().unwrap();
        if event.attributes.is_empty() {
            assert_eq!(said, event.name);
            continue;
        }
        // A name and an object, which together are an object again.
        let whole: Json = serde_json::from_str(&format!("{{{said}}}")).unwrap();
        let pairs = whole[&*event.name].as_object().unwrap();
        assert!(
            event
                .attributes
                .iter()
                .all(|pair| pairs.contains_key(pair.key.as_str()))
        );
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_span_is_written_as_the_specification_says(span in span()) {
        let list: Json = serde_json::from_slice(&encode(std::slice::from_ref(&span), "shop").unwrap()).unwrap();
        let [json] = &list.as_array().unwrap()[..] else { panic!("{list}") };
        check_shape(json);
        let context = &span.span_context;
        prop_assert_eq!(number_of(&json["traceId"], 32), u128::from_be_bytes(context.trace_id().to_bytes()));
        prop_assert_eq!(number_of(&json["id"], 16), u64::from_be_bytes(context.span_id().to_bytes()).into());
        let parent = u64::from_be_bytes(span.parent_span_id.to_bytes());
        prop_assert_eq!(json.get("parentId").is_some(), parent != 0);
        let read = json.get("parentId").map_or(0, |parent| number_of(parent, 16));
        prop_assert_eq!(read, u128::from(parent));
        prop_assert_eq!(json.get("name").map_or("", |name| name.as_str().unwrap()), &*span.name);
        let kind = match span.span_kind {
            SpanKind::Internal => None,
            ref kind => Some(format!("{kind:?}").to_uppercase()),
        };
        prop_assert_eq!(json.get("kind").map(|kind| kind.as_str().unwrap().to_owned()), kind);
        prop_assert_eq!(&json["timestamp"], model_micros(nanos(span.start_time)));
        let took = nanos(span.end_time).saturating_sub(nanos(span.start_time));
        prop_assert_eq!(&json["duration"], model_micros(took));
        prop_assert_eq!(&json["localEndpoint"]["serviceName"], "shop");
        check_tags(&span, &json["tags"]);
        check_annotations(&span, json.get("annotations").unwrap_or(&Json::Null));
    }
}

#[test]
fn a_time_before_the_epoch_is_the_first_microsecond() {
    assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), 1);
    assert_eq!(timestamp(UNIX_EPOCH), 1);
    assert_eq!(timestamp(UNIX_EPOCH + Duration::from_nanos(2_999)), 2);
}

#[test]
fn a_client_span_has_the_address_of_its_peer() {
    let mut span = span_of_a_client();
    span.attributes = vec![
        KeyValue::new("server.address", "10.0.0.7"),
        KeyValue::new("peer.service", "older"),
        KeyValue::new("service.peer.name", "old"),
        KeyValue::new("server.service.name", "stock"),
    ];
    for expected in ["stock", "old", "older"] {
        assert_eq!(remote_endpoint(&span).unwrap().service_name, expected);
        span.attributes.pop();
    }
    assert_eq!(remote_endpoint(&span).unwrap().service_name, "10.0.0.7");
    span.span_kind = SpanKind::Server;
    assert!(remote_endpoint(&span).is_none());
}

fn span_of_a_client() -> SpanData {
    SpanData {
        span_context: SpanContext::empty_context(),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: "call".into(),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}
