//! Tests of the lines of all formats: byte by byte, and against parsers that read as the receivers do.

mod injection;
mod parsers;

use std::time::Duration;

use towerkit_metrics::{Buckets, Registry};

use crate::{
    Format, Graphite, Histograms, Influx, Statsd, packet_buffer::SizeLimits, sent_state::SentState,
};

const TIME: Duration = Duration::new(1_700_000_000, 5);
const NO_LIMITS: SizeLimits = SizeLimits {
    packet: 1 << 20,
    line: 1 << 20,
};

/// Returns the lines of a push that arrives completely.
fn push(format: &Format, registry: &Registry, state: &mut SentState) -> Vec<String> {
    let (packets, too_long) = format.packets(&registry.snapshot(), state, TIME, NO_LIMITS);
    assert_eq!(too_long, 0);
    let mut lines = Vec::new();
    for packet in packets {
        lines.extend(packet.text.split('\n').map(str::to_owned));
        state.record_sent(&packet.values);
    }
    state.confirm();
    lines
}

fn lines(format: impl Into<Format>, registry: &Registry) -> Vec<String> {
    push(&format.into(), registry, &mut SentState::default())
}

fn counter(name: &str, labels: &[(&str, &str)], by: u64) -> Registry {
    let registry = Registry::new();
    registry.counter(name, "", labels).unwrap().add(by);
    registry
}

fn gauge(labels: &[(&str, &str)], to: i64) -> Registry {
    let registry = Registry::new();
    registry.gauge("abc", "", labels).unwrap().set(to);
    registry
}

/// Returns a histogram with one value in the first bucket, eight in the second and two above the last bound.
fn histogram(name: &str) -> Registry {
    let registry = Registry::new();
    let buckets = Buckets::new([0.001, 0.004]).unwrap();
    let labels = [("foo", "bar")];
    let histogram = registry.histogram(name, "", &labels, &buckets).unwrap();
    for (value, times) in [(0.5_f64.powi(11), 1), (0.5_f64.powi(9), 8), (1.0, 2)] {
        (0..times).for_each(|_| histogram.observe(value));
    }
    registry
}

/// GK-MT-4.
#[test]
fn statsd_gets_counters_and_gauges() {
    let labels = [("label", "value")];
    let plain = || Statsd::new().prefix("app.");
    let dog = || Statsd::dogstatsd().tag("hostname", "foohost");
    assert_eq!(lines(plain(), &counter("abc", &[], 15)), ["app.abc:15|c"]);
    assert_eq!(lines(plain(), &gauge(&[], 7)), ["app.abc:7|g"]);
    assert_eq!(
        lines(plain(), &counter("abc", &labels, 15)),
        ["app.abc.label.value:15|c"]
    );
    assert_eq!(
        lines(plain().tag("host", "a.b"), &counter("abc", &labels, 15)),
        ["app.abc.host.a_b.label.value:15|c"]
    );
    assert_eq!(
        lines(dog(), &counter("abc", &labels, 15)),
        ["abc:15|c|#hostname:foohost,label:value"]
    );
    assert_eq!(
        lines(dog(), &gauge(&[("xyz", "abc")], 7)),
        ["abc:7|g|#hostname:foohost,xyz:abc"]
    );
    assert_eq!(
        lines(Statsd::influx(), &counter("abc", &labels, 15)),
        ["abc,label=value:15|c"]
    );
}

/// A sign makes a statsd gauge relative.
#[test]
fn a_negative_gauge_is_set_and_not_decreased() {
    let below = gauge(&[], -7);
    assert_eq!(lines(Statsd::new(), &below), ["abc:0|g", "abc:-7|g"]);
    assert_eq!(lines(Statsd::influx(), &below), ["abc:0|g", "abc:-7|g"]);
    assert_eq!(lines(Statsd::dogstatsd(), &below), ["abc:-7|g"]);
}

/// GK-MT-1, GK-MT-2; a gauge keeps its value (go-kit #578).
#[test]
fn statsd_gets_each_increase_once() {
    let registry = Registry::new();
    let counter = registry.counter("calls_total", "", &[]).unwrap();
    let gauge = registry.gauge("active", "", &[]).unwrap();
    let (format, mut state) = (Statsd::new().into(), SentState::default());
    let mut push = || push(&format, &registry, &mut state);
    counter.add(5);
    gauge.add(3);
    assert_eq!(push(), ["active:3|g", "calls_total:5|c"]);
    assert_eq!(push(), ["active:3|g"]);
    counter.add(2);
    gauge.add(1);
    assert_eq!(push(), ["active:4|g", "calls_total:2|c"]);
}

#[test]
fn statsd_gets_a_histogram_as_counters() {
    let registry = histogram("h_seconds");
    assert_eq!(
        lines(Statsd::new(), &registry),
        [
            "h_seconds.foo.bar.count:11|c",
            "h_seconds.foo.bar.sum:2.01611328125|c",
            "h_seconds.foo.bar.bucket.0_001:1|c",
            "h_seconds.foo.bar.bucket.0_004:8|c",
            "h_seconds.foo.bar.bucket.inf:2|c",
        ]
    );
    let dog = lines(Statsd::dogstatsd(), &registry);
    assert_eq!(dog[3], "h_seconds.bucket:8|c|#foo:bar,upper_bound:0.004");
    let influx = lines(Statsd::influx(), &registry);
    assert_eq!(influx[1], "h_seconds.sum,foo=bar:2|c");
    assert_eq!(influx[4], "h_seconds.bucket,foo=bar,upper_bound=inf:2|c");
}

/// GK-MT-4, FIX-16.
#[test]
fn the_rate_of_a_sample_is_the_number_of_its_values() {
    let registry = histogram("h_seconds");
    let samples = |statsd: Statsd| lines(statsd.histograms(Histograms::Samples), &registry);
    assert_eq!(
        samples(Statsd::new()),
        [
            "h_seconds.foo.bar:0.5|ms",
            "h_seconds.foo.bar:2.5|ms|@0.125",
            "h_seconds.foo.bar:4|ms|@0.5",
        ]
    );
    assert_eq!(
        samples(Statsd::dogstatsd()),
        [
            "h_seconds:0.0005|h|#foo:bar",
            "h_seconds:0.0025|h|@0.125|#foo:bar",
            "h_seconds:0.004|h|@0.5|#foo:bar",
        ]
    );
    let influx = samples(Statsd::influx());
    assert_eq!(influx[1], "h_seconds,foo=bar:0.0025|h|@0.125");
    let bytes = histogram("h_bytes");
    let bytes = lines(Statsd::new().histograms(Histograms::Samples), &bytes);
    assert_eq!(bytes[1], "h_bytes.foo.bar:0.0025|ms|@0.125");
}

/// GK-MT-4.
#[test]
fn graphite_gets_a_path_a_value_and_a_time() {
    let labels = [("name", "x"), ("path", "/orders/{id}")];
    let graphite = || Graphite::new().prefix("abc.");
    assert_eq!(
        lines(graphite(), &counter("def", &[], 15)),
        ["abc.def 15 1700000000"]
    );
    assert_eq!(
        lines(graphite().tag("env", "prod"), &counter("def", &labels, 15)),
        ["abc.def;env=prod;name_=x;path=/orders/{id} 15 1700000000"]
    );
    assert_eq!(
        lines(graphite().levels(), &counter("def", &labels, 15)),
        ["abc.def.name.x.path._orders__id_ 15 1700000000"]
    );
    assert_eq!(
        lines(Graphite::new(), &gauge(&[], -7)),
        ["abc -7 1700000000"]
    );
}

#[test]
fn graphite_gets_totals_and_quantiles_of_the_interval() {
    let registry = histogram("h_seconds");
    let (format, mut state) = (Graphite::new().prefix("p.").into(), SentState::default());
    let first = push(&format, &registry, &mut state);
    let expected = [
        "p.h_seconds.count;foo=bar 11 1700000000",
        "p.h_seconds.sum;foo=bar 2.01611328125 1700000000",
        // 0.001 + 0.003 * (5.5 - 1) / 8
        "p.h_seconds.p50;foo=bar 0.0026875 1700000000",
        "p.h_seconds.p90;foo=bar 0.004 1700000000",
        "p.h_seconds.p95;foo=bar 0.004 1700000000",
        "p.h_seconds.p99;foo=bar 0.004 1700000000",
    ];
    assert_eq!(first, expected);
    // Without new values there are no quantiles.
    assert_eq!(push(&format, &registry, &mut state), expected[..2]);
}

/// GK-MT-5.
#[test]
fn influxdb_gets_fields_of_a_measurement_with_tags() {
    let registry = counter("influx_counter", &[("a", "b")], 60);
    assert_eq!(
        lines(Influx::new(), &registry),
        ["influx_counter,a=b count=60 1700000000000000005"]
    );
    let registry = counter("influx_counter", &[("error", "true"), ("a", "b")], 1);
    assert_eq!(
        lines(Influx::new().tag("c", "d").tag("a", "x"), &registry),
        ["influx_counter,a=b,c=d,error=true count=1 1700000000000000005"]
    );
    let odd = counter("n", &[("time", "a b,c=d\\"), ("é", "")][..1], 1);
    assert_eq!(
        lines(Influx::new().prefix("p_"), &odd),
        ["p_n,time_=a\\ b\\,c\\=d_ count=1 1700000000000000005"]
    );
    assert_eq!(
        lines(Influx::new(), &gauge(&[], -2)),
        ["abc value=-2 1700000000000000005"]
    );
    assert_eq!(
        lines(Influx::new(), &histogram("h")),
        [
            "h,foo=bar count=11,sum=2.01611328125,p50=0.0026875,p90=0.004,p95=0.004,p99=0.004 \
             1700000000000000005"
        ]
    );
}

/// GK-MT-5 (go-kit #404).
#[test]
fn series_with_similar_labels_are_kept_apart() {
    let registry = Registry::new();
    let counter = |a: &str, b: &str| registry.counter("c", "", &[("a", a), ("b", b)]).unwrap();
    // Some of these are equal when they are concatenated, also with commas.
    let series = [("ab", "c"), ("a", "bc"), ("1,2:x", "y"), ("1", "2:x,1:y")];
    let counters = series.map(|(a, b)| counter(a, b));
    let (format, mut state) = (Statsd::dogstatsd().into(), SentState::default());
    counters.iter().for_each(|counter| counter.add(1));
    assert_eq!(push(&format, &registry, &mut state).len(), 4);
    for (counter, (a, b)) in counters.iter().zip(series) {
        counter.add(2);
        let clean = |value: &str| value.replace([',', ':'], "_");
        let expected = format!("c:2|c|#a:{},b:{}", clean(a), clean(b));
        assert_eq!(push(&format, &registry, &mut state), [expected]);
    }
}

#[test]
fn a_sum_that_is_not_finite_is_left_out() {
    let registry = Registry::new();
    let buckets = Buckets::new([1.0]).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    histogram.observe(f64::INFINITY);
    for format in [
        Statsd::new().into(),
        Statsd::dogstatsd().into(),
        Statsd::new().histograms(Histograms::Samples).into(),
        Graphite::new().into(),
        Influx::new().into(),
    ] {
        let format: Format = format;
        let lines = push(&format, &registry, &mut SentState::default());
        assert!(!lines.is_empty());
        assert!(!lines.iter().any(|line| line.contains("sum")), "{lines:?}");
    }
}
