//! The built-in registry, as its users and Prometheus see it.

use std::{num::NonZeroUsize, thread};

use proptest::prelude::*;
use towerkit_metrics::{Buckets, MetricError, Registry};

use crate::scrape::Scraped;

fn why(result: Result<impl Sized, MetricError>) -> String {
    result.err().expect("an error").to_string()
}

/// GK-MT-1, GK-MT-2.
#[test]
fn a_counter_adds_up_and_a_gauge_keeps_the_last() {
    let registry = Registry::new();
    let counter = registry.counter("c_total", "", &[]).unwrap();
    let gauge = registry.gauge("g", "", &[]).unwrap();
    (1..=4).for_each(|by| counter.add(by));
    gauge.add(5);
    gauge.set(9);
    gauge.add(-2);
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.value("c_total", &[]), Some(10.0));
    assert_eq!(scraped.value("g", &[]), Some(7.0));
}

/// A8.7, GK-MT-6: the order of labels is of no matter, and siblings never share theirs (GK-MT-11).
#[test]
fn the_same_labels_are_the_same_series_in_any_order() {
    let registry = Registry::new();
    let counter = |labels: &[(&str, &str)]| registry.counter("c_total", "", labels).unwrap();
    counter(&[("a", "1"), ("b", "2")]).add(1);
    counter(&[("b", "2"), ("a", "1")]).add(1);
    counter(&[("a", "1"), ("b", "3")]).add(5);
    let scraped = Scraped::of(&registry);
    assert_eq!(
        scraped.value("c_total", &[("b", "2"), ("a", "1")]),
        Some(2.0)
    );
    assert_eq!(
        scraped.value("c_total", &[("a", "1"), ("b", "3")]),
        Some(5.0)
    );
    assert_eq!(scraped.series("c_total"), 2);
}

/// A8.6: never a panic, and never a line that reads as another metric's.
#[test]
fn an_invalid_or_conflicting_metric_is_an_error() {
    let registry = Registry::new();
    let counter = |name, labels: &[(&str, &str)]| registry.counter(name, "", labels);
    let histogram =
        |name, labels: &[(&str, &str)]| registry.histogram(name, "", labels, &Buckets::default());
    assert!(counter("c_total", &[("a", "1")]).is_ok());
    assert!(histogram("h", &[]).is_ok());
    for (error, expected) in [
        (
            why(registry.gauge("c_total", "", &[("a", "1")])),
            "metric \"c_total\": a metric of this name has another kind",
        ),
        (
            why(counter("c_total", &[("b", "1")])),
            "metric \"c_total\": its series have other labels",
        ),
        (
            why(counter("c_total", &[])),
            "metric \"c_total\": its series have other labels",
        ),
        (
            why(counter("c total", &[])),
            "metric \"c total\": the name is not valid in Prometheus",
        ),
        (
            why(counter("d", &[("1", "")])),
            "metric \"d\": the name of a label is not valid in Prometheus",
        ),
        (
            why(counter("d", &[("a", ""), ("a", "")])),
            "metric \"d\": a label occurs twice",
        ),
        (
            why(histogram("i", &[("le", "")])),
            "metric \"i\": the label le is reserved for the buckets",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

/// MT-02.
#[test]
fn an_unbounded_label_is_limited_and_the_rest_is_counted() {
    let registry = Registry::with_max_series(NonZeroUsize::new(10).unwrap());
    for user in 0..1000 {
        let user = user.to_string();
        let counter = registry.counter("logins_total", "", &[("user", &user)]);
        counter.unwrap().add(1);
    }
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.series("logins_total"), 11);
    assert_eq!(
        scraped.value("logins_total", &[("user", "_OTHER")]),
        Some(990.0)
    );
    let dropped = "towerkit_metrics_dropped_total";
    assert_eq!(
        scraped.value(dropped, &[("metric", "logins_total")]),
        Some(990.0)
    );
}

/// MT-05: 64 threads, exact counts, and a histogram that agrees with itself.
#[test]
fn no_value_of_64_threads_is_lost() {
    const EACH: u64 = if cfg!(debug_assertions) {
        2_000
    } else {
        1_000_000
    };
    let registry = Registry::new();
    let counter = registry.counter("c_total", "", &[]).unwrap();
    let gauge = registry.gauge("g", "", &[]).unwrap();
    let histogram = registry.histogram("h_seconds", "", &[], &Buckets::default());
    let histogram = histogram.unwrap();
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for n in 0..EACH {
                    gauge.add(1);
                    counter.add(1);
                    histogram.observe_nanos(n % 8 * 2_000_000);
                    histogram.observe(0.5);
                    gauge.add(-1);
                }
            });
        }
        scope.spawn(|| (0..20).for_each(|_| assert_consistent(&Scraped::of(&registry))));
    });
    let scraped = Scraped::of(&registry);
    assert_consistent(&scraped);
    assert_eq!(scraped.value("c_total", &[]), Some(64.0 * EACH as f64));
    assert_eq!(scraped.value("g", &[]), Some(0.0));
    assert_eq!(
        scraped.value("h_seconds_count", &[]),
        Some(128.0 * EACH as f64)
    );
    // 0, 2 and 4 of 0, 2, … 14 milliseconds.
    let least = scraped.value("h_seconds_bucket", &[("le", "0.005")]);
    assert_eq!(least, Some(64.0 * EACH as f64 * 3.0 / 8.0));
    let sum = 64.0 * EACH as f64 * (0.007 + 0.5);
    assert!((scraped.value("h_seconds_sum", &[]).unwrap() / sum - 1.0).abs() < 1e-9);
}

fn assert_consistent(scraped: &Scraped) {
    let buckets = scraped.all("h_seconds_bucket");
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(
        buckets.last().copied(),
        scraped.value("h_seconds_count", &[])
    );
    assert_eq!(
        scraped.value("h_seconds_bucket", &[("le", "+Inf")]),
        scraped.value("h_seconds_count", &[])
    );
}

/// GK-MT-3, GK-MT-6: 12,345 samples of N(500, 25) stand within 1 % of the normal distribution.
#[test]
fn a_histogram_follows_the_distribution_of_its_values() {
    let registry = Registry::new();
    let quantiles = [(0.5, 500.0), (0.9, 532.04), (0.95, 541.12), (0.99, 558.16)];
    let buckets = Buckets::new(quantiles.map(|(_, bound)| bound)).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    // Sums of twelve uniform numbers are close to normal.
    let mut state = 1_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for _ in 0..12_345 {
        let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        histogram.observe(500.0 + 25.0 * normal);
    }
    let scraped = Scraped::of(&registry);
    for (share, bound) in quantiles {
        let below = scraped
            .value("h_bucket", &[("le", &bound.to_string())])
            .unwrap();
        assert!((below / 12_345.0 - share).abs() < 0.01, "{bound}: {below}");
    }
}

/// MT-03.
#[test]
fn infinite_values_are_written_and_a_nan_is_omitted() {
    let registry = Registry::new();
    let buckets = Buckets::new([1.0]).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    for value in [f64::NAN, f64::INFINITY, 0.5] {
        histogram.observe(value);
    }
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.value("h_sum", &[]), Some(f64::INFINITY));
    assert_eq!(scraped.value("h_count", &[]), Some(2.0));
    histogram.observe(f64::NEG_INFINITY);
    assert!(Scraped::of(&registry).value("h_sum", &[]).unwrap().is_nan());
}

#[test]
fn registries_are_independent_and_the_global_one_is_unique() {
    let [one, other] = [Registry::new(), Registry::new()];
    one.counter("c_total", "", &[]).unwrap().add(1);
    assert_eq!(other.render(), "");
    let counter = Registry::global().counter("global_total", "", &[]);
    counter.unwrap().add(1);
    assert!(Registry::global().render().contains("global_total 1\n"));
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
            let counter = registry.counter("c_total", &help, &labels).unwrap();
            counter.add(n as u64);
        }
        let scraped = Scraped::of(&registry);
        prop_assert_eq!(scraped.series("c_total"), values.len());
        for (n, value) in values.iter().enumerate() {
            let read = scraped.value("c_total", &[("text", value), ("n", "1")]);
            prop_assert_eq!(read, Some(n as f64));
        }
        let expected = (!help.is_empty()).then_some(help.as_str());
        prop_assert_eq!(scraped.help("c_total"), expected);
    }
}
