//! The properties that go-kit's tests check of its metrics.

use std::{thread, time::Duration};

use towerkit_core::Clock;
use towerkit_metrics::{Buckets, HistogramSnapshot, Registry, Value};

use crate::scrape::Scraped;

fn distribution(registry: &Registry, name: &str) -> HistogramSnapshot {
    let snapshot = registry.snapshot();
    let mut families = snapshot.families().iter();
    let family = families.find(|family| family.name() == name).unwrap();
    match family.samples()[0].value() {
        Value::Histogram(distribution) => distribution.clone(),
        other => panic!("no histogram: {other:?}"),
    }
}

/// GK-MT-1: a read returns the sum of all additions, and does not reset the counter.
#[test]
fn a_counter_is_the_sum_of_random_deltas_however_often_it_is_read() {
    let registry = Registry::new();
    let counter = registry.counter("c_total", "", &[]).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut expected = 0;
    for _ in 0..2 {
        for _ in 0..100 {
            let delta = random.u64(..100);
            counter.add(delta);
            expected += delta;
        }
        let read = Scraped::of(&registry).value("c_total", &[]);
        assert_eq!(read, Some(expected as f64));
    }
}

/// GK-MT-2
#[test]
fn a_gauge_is_the_last_of_random_values_and_what_was_added_since() {
    let registry = Registry::new();
    let gauge = registry.gauge("g", "", &[]).unwrap();
    let mut random = fastrand::Rng::with_seed(2);
    let mut expected = 0;
    for _ in 0..100 {
        expected = random.i64(-1000..1000);
        gauge.set(expected);
    }
    for _ in 0..100 {
        let delta = random.i64(-100..100);
        gauge.add(delta);
        expected += delta;
    }
    assert_eq!(
        Scraped::of(&registry).value("g", &[]),
        Some(expected as f64)
    );
}

/// GK-MT-7: 45 counters, each added to by two threads, are each there once with their label.
#[test]
fn every_series_arrives_exactly_once() {
    let registry = Registry::new();
    thread::scope(|scope| {
        for n in 0..90 {
            let registry = &registry;
            scope.spawn(move || {
                let id = (n % 45).to_string();
                let counter = registry.counter("c_total", "", &[("id", &id)]);
                counter.unwrap().add(n % 45);
            });
        }
    });
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.series("c_total"), 45);
    for n in 0..45_u32 {
        let read = scraped.value("c_total", &[("id", &n.to_string())]);
        assert_eq!(read, Some(f64::from(2 * n)));
    }
}

/// GK-MT-9, A8.8: a timer is two readings of a clock, and its unit is the second.
#[test]
fn a_duration_is_observed_in_seconds() {
    let (clock, clock_control) = Clock::manual();
    for (slept, expected) in [(0, 0.0), (100, 0.1), (250, 0.25)] {
        let registry = Registry::new();
        let waits = registry.histogram("wait_seconds", "", &[], &Buckets::default());
        let begun = clock.now();
        clock_control.advance(Duration::from_millis(slept));
        waits.unwrap().observe_nanos(clock.now() - begun);
        let waited = distribution(&registry, "wait_seconds");
        assert_eq!((waited.count(), waited.sum()), (1, expected));
    }
}

/// GK-MT-10: 1,234 random values have the mean that they have.
#[test]
fn the_mean_of_a_histogram_is_exact() {
    let registry = Registry::new();
    let histogram = registry.histogram("h", "", &[], &Buckets::default());
    let histogram = histogram.unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let values: Vec<f64> = (0..1234).map(|_| random.f64() * 1000.0).collect();
    values.iter().for_each(|value| histogram.observe(*value));
    let seen = distribution(&registry, "h");
    let mean = values.iter().sum::<f64>() / 1234.0;
    assert!((seen.sum() / seen.count() as f64 / mean - 1.0).abs() < 1e-9);
}

/// GK-MT-10 (go-kit #424): observing and reading from 100 threads at once.
#[test]
fn a_hundred_threads_observe_and_read_one_histogram() {
    let registry = Registry::new();
    let histogram = registry.histogram("h", "", &[], &Buckets::default());
    let histogram = histogram.unwrap();
    thread::scope(|scope| {
        for n in 0..100 {
            let (registry, histogram) = (&registry, &*histogram);
            scope.spawn(move || {
                for k in 0..1000 {
                    histogram.observe(f64::from(k));
                    if k % 100 == n {
                        let seen = distribution(registry, "h");
                        assert!(seen.count() > 0 && seen.count() <= 100_000);
                    }
                }
            });
        }
    });
    assert_eq!(distribution(&registry, "h").count(), 100_000);
}

/// GK-MT-10, GK-MT-11, A8.7: a handle with labels leaves its siblings alone, and a walk meets each label set once.
#[test]
fn a_snapshot_has_every_label_set_once() {
    let registry = Registry::new();
    let walk = || {
        let snapshot = registry.snapshot();
        let family = &snapshot.families()[0];
        let met = family.samples().iter().map(|sample| {
            let labels = family.labels(sample).map(|(k, v)| format!("{k}={v}"));
            (labels.collect::<Vec<_>>().join(","), sample.value().clone())
        });
        met.collect::<Vec<_>>()
    };
    let parent = [("a", "1")];
    let child = |b| {
        registry
            .counter("c_total", "", &[parent[0], ("b", b)])
            .unwrap()
    };
    let [first, second] = [child("2"), child("3")];
    first.add(5);
    second.add(7);
    child("2").add(1);
    let expected = [
        ("a=1,b=2".to_owned(), Value::Counter(6)),
        ("a=1,b=3".to_owned(), Value::Counter(7)),
    ];
    assert_eq!(walk(), expected);
}
