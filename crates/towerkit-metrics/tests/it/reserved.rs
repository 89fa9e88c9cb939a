//! Names that the formats keep for others: OpenMetrics 1.0, sections "Suffixes" and "Text Format".

use towerkit_metrics::{Buckets, MetricError, Registry};

type Make = fn(&Registry, &str) -> Result<(), MetricError>;

fn counter(registry: &Registry, name: &str) -> Result<(), MetricError> {
    registry.counter(name, "", &[]).map(drop)
}

fn observable_counter(registry: &Registry, name: &str) -> Result<(), MetricError> {
    registry.observable_counter(name, "", &[], || 1)
}

fn gauge(registry: &Registry, name: &str) -> Result<(), MetricError> {
    registry.gauge(name, "", &[]).map(drop)
}

fn histogram(registry: &Registry, name: &str) -> Result<(), MetricError> {
    let buckets = Buckets::default();
    registry.histogram(name, "", &[], &buckets).map(drop)
}

/// Every suffix with every type of metric.
#[test]
fn a_reserved_suffix_is_rejected_on_a_metric_of_another_type() {
    for (suffix, of_counters, of_gauges, of_histograms) in [
        ("_total", true, false, false),
        ("_created", false, false, false),
        ("_bucket", false, false, false),
        ("_count", false, false, false),
        ("_sum", false, false, false),
        ("_gcount", false, false, false),
        ("_gsum", false, false, false),
        ("_info", false, true, false),
        ("_other", true, true, true),
    ] {
        let name = format!("x{suffix}");
        for (make, is_taken) in [
            (counter as Make, of_counters),
            (observable_counter, of_counters),
            (gauge, of_gauges),
            (histogram, of_histograms),
        ] {
            let made = make(&Registry::new(), &name);
            assert_eq!(made.is_ok(), is_taken, "{name}: {made:?}");
        }
    }
    let error = gauge(&Registry::new(), "x_total").unwrap_err();
    let expected = "metric \"x_total\": the suffix _total is reserved for counters";
    assert_eq!(error.to_string(), expected);
}

/// Whichever of the two comes first.
#[test]
fn two_metrics_with_colliding_line_names_are_rejected() {
    let clashing: [(Make, &str, Make, &str); 7] = [
        (counter, "x_total", gauge, "x"),
        (counter, "x_total", histogram, "x"),
        (counter, "x_total", counter, "x"),
        (counter, "x_total_total", counter, "x_total"),
        (counter, "x_created_total", histogram, "x"),
        (counter, "x_count_total", histogram, "x"),
        (observable_counter, "x_bucket_total", histogram, "x"),
    ];
    for (one, a, other, b) in clashing {
        for ((first, a), (second, b)) in [((one, a), (other, b)), ((other, b), (one, a))] {
            let registry = Registry::new();
            first(&registry, a).unwrap();
            first(&registry, a).unwrap();
            let error = second(&registry, b).unwrap_err();
            let expected =
                format!("metric {b:?}: its samples could be read as those of metric {a:?}");
            assert_eq!((error.to_string(), error.name()), (expected, b));
            // A rejected metric reserves no name, and the first one still works.
            first(&registry, a).unwrap();
        }
    }
    let registry = Registry::new();
    let apart: [(Make, &str); 5] = [
        (counter, "y_total"),
        (gauge, "y_total_seconds"),
        (histogram, "z"),
        (counter, "z_sums_total"),
        (gauge, "build_info"),
    ];
    for (make, name) in apart {
        make(&registry, name).unwrap();
    }
}
