//! The memory of pushes that fail.

use towerkit_metrics::{Buckets, Registry};
use towerkit_metrics_push::{Destination, Format, Graphite, Histograms, Influx, Pusher, Statsd};

/// 500 failed pushes, more than in an hour, queue no values.
#[test]
fn failed_pushes_keep_no_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let formats: [Format; 4] = [
        Statsd::new().into(),
        Statsd::dogstatsd().histograms(Histograms::Samples).into(),
        Graphite::new().into(),
        Influx::new().into(),
    ];
    for format in formats {
        for destination in [
            Destination::udp("127.0.0.1:1"),
            Destination::tcp("127.0.0.1:1"),
        ] {
            let registry = Registry::new();
            let counter = registry.counter("calls_total", "", &[]).unwrap();
            let buckets = Buckets::default();
            let histogram = registry.histogram("h_seconds", "", &[], &buckets).unwrap();
            let mut pusher = Pusher::new(registry, format.clone(), destination);
            let mut fail = |times: u32| {
                runtime.block_on(async {
                    for _ in 0..times {
                        counter.add(1);
                        histogram.observe(0.3);
                        // Over UDP the error may arrive after the push.
                        let _ = pusher.flush().await;
                    }
                });
            };
            fail(10);
            let left = allocation_counter::measure(|| fail(500));
            assert!(left.count_total > 5000, "{left:?}");
            assert!(left.bytes_current.abs() < 1024, "{left:?}");
        }
    }
}
