//! Pushes to Etsy's statsd, Graphite's carbon and InfluxDB 1.6.

mod graphite;
mod influx;
mod statsd;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use towerkit_metrics::Registry;
use towerkit_metrics_push::{Pusher, PusherHandle, PusherSnapshot};

/// Label values with special characters of the formats (MT-06).
const SPECIAL: [&str; 12] = [
    "a|b#c:d,e=f g",
    "line\nfeed:1|c",
    "\r\n\t\u{1c}\u{85}\u{2028}",
    "quote\"}{x=\"y",
    "~tilde;semi=colon",
    "back\\slash\\",
    "/orders/{id}/*",
    "../../etc/passwd",
    "é ü 漢字",
    "#comment",
    "@0.5|g",
    "'quoted'",
];

/// Returns a registry with a counter for each special value; the counters are 1, 2, 3 and so on.
fn registry_with_special_labels() -> Registry {
    let registry = Registry::new();
    for (value, by) in SPECIAL.into_iter().zip(1..) {
        let labels = [("kind", "special"), ("value", value)];
        let counter = registry.counter("special_total", "", &labels);
        counter.unwrap().add(by);
    }
    registry
}

/// Runs a pusher until `work` is done, and flushes it.
async fn while_pushing<T>(pusher: &mut Pusher, work: impl Future<Output = T>) -> T {
    let done = tokio::select! {
        never = pusher.run() => match never {},
        done = work => done,
    };
    pusher.flush().await.unwrap();
    done
}

/// Waits for a value, at most two minutes.
fn until<T>(description: &str, find: impl FnMut() -> Option<T>) -> T {
    towerkit_programs::until(description, Duration::from_secs(120), find)
}

/// Waits until `condition` holds for a snapshot, at most two minutes.
async fn snapshot_when(
    handle: &PusherHandle,
    condition: impl Fn(&PusherSnapshot) -> bool,
) -> PusherSnapshot {
    let begun = Instant::now();
    loop {
        let snapshot = handle.snapshot();
        if condition(&snapshot) {
            return snapshot;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{snapshot:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
