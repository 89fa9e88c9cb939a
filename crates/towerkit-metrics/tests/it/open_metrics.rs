//! OpenMetrics, with the exemplars of calls that are traced.

use std::{convert::Infallible, thread};

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{TraceIds, stack};
use towerkit_http::HttpExt;
use towerkit_metrics::{Buckets, Histogram, MetricsLayer, Registry};
use towerkit_trace::TraceLayer;

use crate::scrape::open::Open;

fn opened(registry: &Registry) -> Open {
    Open::parse(&registry.render_open_metrics())
}

fn ids(id: u8, flags: u8) -> Option<TraceIds> {
    Some(TraceIds {
        trace: [id; 16],
        span: [id; 8],
        flags,
    })
}

fn observe(histogram: &dyn Histogram, ids: Option<TraceIds>, value: f64) {
    TraceIds::enter(ids, || histogram.observe(value));
}

/// A8.1
#[test]
fn open_metrics_text_has_every_kind_of_metric() {
    let registry = Registry::new();
    let sent = registry.counter("sent_bytes_total", "Bytes \"sent\"\\\n.", &[("to", "ü\"")]);
    sent.unwrap().add(7);
    registry
        .gauge("temperature_celsius", "", &[])
        .unwrap()
        .set(-3);
    let buckets = Buckets::new([0.5, 1.0]).unwrap();
    let waits = registry.histogram("wait_seconds", "Waits.", &[], &buckets);
    let waits = waits.unwrap();
    observe(&*waits, ids(0xab, TraceIds::SAMPLED), 0.75);
    observe(&*waits, ids(0xcd, TraceIds::SAMPLED), 3.0);
    let expected = "\
# TYPE sent_bytes counter
# UNIT sent_bytes bytes
# HELP sent_bytes Bytes \\\"sent\\\"\\\\\\n.
sent_bytes_total{to=\"ü\\\"\"} 7
# TYPE temperature_celsius gauge
# UNIT temperature_celsius celsius
temperature_celsius -3
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
# HELP wait_seconds Waits.
wait_seconds_bucket{le=\"0.5\"} 0
wait_seconds_bucket{le=\"1.0\"} 1 # {trace_id=\"abababababababababababababababab\",span_id=\"abababababababab\"} 0.75
wait_seconds_bucket{le=\"+Inf\"} 2 # {trace_id=\"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\",span_id=\"cdcdcdcdcdcdcdcd\"} 3
wait_seconds_count 2
wait_seconds_sum 3.75
# EOF
";
    assert_eq!(registry.render_open_metrics(), expected);
    assert_eq!(opened(&registry).samples.len(), 7);
    // The older format has no exemplars.
    assert!(!registry.render().contains("trace_id"));
    assert_eq!(Registry::new().render_open_metrics(), "# EOF\n");
}

#[test]
fn a_counter_without_the_suffix_total_is_of_unknown_type() {
    let registry = Registry::new();
    for name in ["calls", "words_total", "_total"] {
        registry.counter(name, "", &[]).unwrap().add(1);
    }
    let open = opened(&registry);
    let kinds = |name: &str| open.families.get(name).map(|family| &*family.kind);
    assert_eq!(kinds("calls"), Some("unknown"));
    assert_eq!(kinds("words"), Some("counter"));
    assert_eq!(kinds("_total"), Some("unknown"));
    assert_eq!(open.value("words_total", &[]), Some(1.0));
}

/// MT-03
#[test]
fn a_sum_that_may_decrease_is_omitted_with_its_count() {
    let registry = Registry::new();
    let histogram = |name, bounds: &[f64], values: &[f64]| {
        let buckets = Buckets::new(bounds.iter().copied()).unwrap();
        let histogram = registry.histogram(name, "", &[], &buckets).unwrap();
        values.iter().for_each(|value| histogram.observe(*value));
    };
    histogram("below_zero", &[-1.0, 1.0], &[2.0]);
    histogram("fell", &[1.0], &[-2.0]);
    histogram("nonsense", &[1.0], &[f64::INFINITY, f64::NEG_INFINITY]);
    histogram("endless", &[1.0], &[f64::INFINITY]);
    let open = opened(&registry);
    for name in ["below_zero", "fell", "nonsense"] {
        assert_eq!(open.value(&format!("{name}_sum"), &[]), None);
        assert_eq!(open.value(&format!("{name}_count"), &[]), None);
        let all = open.value(&format!("{name}_bucket"), &[("le", "+Inf")]);
        assert!(all > Some(0.0), "{name}");
    }
    assert_eq!(open.value("endless_sum", &[]), Some(f64::INFINITY));
    assert_eq!(open.value("endless_count", &[]), Some(1.0));
}

#[test]
fn each_bucket_keeps_the_last_value_of_a_recorded_trace() {
    let registry = Registry::new();
    let buckets = Buckets::new([1.0]).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    observe(&*histogram, None, 0.1);
    observe(&*histogram, ids(1, 0), 0.2);
    assert_eq!(opened(&registry).exemplars(), []);
    observe(&*histogram, ids(2, TraceIds::SAMPLED), 0.3);
    observe(&*histogram, ids(3, 3), 0.4);
    TraceIds::enter(ids(4, 1), || histogram.observe_nanos(2_000_000_000));
    observe(&*histogram, ids(5, 0), 0.5);
    observe(&*histogram, ids(6, 1), f64::NAN);
    let open = opened(&registry);
    let seen: Vec<_> = open
        .exemplars()
        .into_iter()
        .map(|(le, labels, value)| (le, labels["trace_id"][..2].to_owned(), value))
        .collect();
    let expected = [
        ("1.0", "03".to_owned(), 0.4),
        ("+Inf", "04".to_owned(), 2.0),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_memory_of_exemplars_is_allocated_once() {
    let registry = Registry::new();
    let histogram = registry.histogram("h", "", &[], &Buckets::default());
    let histogram = histogram.unwrap();
    let sampled = |value| measure(|| observe(&*histogram, ids(1, 1), value)).count_total;
    assert!(sampled(0.1) > 0, "the counter counts");
    assert_eq!([0.001, 0.1, 5.0, 100.0].map(sampled), [0; 4]);
}

/// MT-05: the value and the labels of an exemplar belong together.
#[test]
fn exemplars_of_many_threads_are_never_mixed() {
    let registry = Registry::new();
    let buckets = Buckets::new([1000.0]).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    let check = || {
        for (_, labels, value) in opened(&registry).exemplars() {
            let id = format!("{:02x}", value as u8);
            assert_eq!(labels["trace_id"], id.repeat(16));
            assert_eq!(labels["span_id"], id.repeat(8));
        }
    };
    thread::scope(|scope| {
        for id in 1..=8 {
            let histogram = &*histogram;
            let once = move |_| observe(histogram, ids(id, 1), f64::from(id));
            scope.spawn(move || (0..5000).for_each(once));
        }
        (0..50).for_each(|_| check());
    });
    check();
    let total = opened(&registry).value("h_count", &[]);
    assert_eq!(total, Some(40_000.0));
}

/// A layer that traces outside of the metrics shows them its calls.
#[tokio::test]
async fn a_traced_call_is_the_exemplar_of_its_duration() {
    for (flags, expected) in [("00", 0), ("01", 1)] {
        let registry = Registry::new();
        let metrics = MetricsLayer::new().registry(registry.clone());
        let service = stack((TraceLayer::server(), metrics));
        let service = service.http().layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("body")))
        }));
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let request = Request::builder().header("traceparent", parent).body(());
        let response = service.oneshot(request.unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
        let open = opened(&registry);
        let exemplars = open.exemplars();
        assert_eq!(exemplars.len(), expected);
        for (_, labels, _) in exemplars {
            assert_eq!(labels["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_ne!(labels["span_id"], "00f067aa0ba902b7");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// MT-03: a parser reads back any text of labels and HELP.
    #[test]
    fn any_text_survives_the_format(
        help in "\\PC{0,12}|[\\\\\"\na\r\t\0#]{0,9}",
        values in proptest::collection::hash_set("\\PC{0,12}|[\\\\\"\na{},=\r\t\0 #]{0,9}", 1..5),
    ) {
        let registry = Registry::new();
        for (n, value) in values.iter().enumerate() {
            let labels = [("text", value.as_str()), ("n", "1")];
            registry.counter("c_total", &help, &labels).unwrap().add(n as u64);
        }
        let open = opened(&registry);
        prop_assert_eq!(open.samples.len(), values.len());
        for (n, value) in values.iter().enumerate() {
            let read = open.value("c_total", &[("text", value), ("n", "1")]);
            prop_assert_eq!(read, Some(n as f64));
        }
        let expected = (!help.is_empty()).then_some(help);
        prop_assert_eq!(&open.families["c"].help, &expected);
    }
}
