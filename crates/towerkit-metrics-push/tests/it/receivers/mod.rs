//! Pushes to real receivers: Etsy's statsd, Graphite's carbon, and InfluxDB 1.6.

mod graphite;
mod influx;
mod statsd;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use towerkit_metrics::Registry;
use towerkit_metrics_push::{Pusher, PusherHandle, Report};

/// Label values with what means something to one format or another (MT-06).
const NASTY: [&str; 12] = [
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

/// A registry with a counter for each nasty value: its place in the list, and one.
fn nasty() -> Registry {
    let registry = Registry::new();
    for (value, by) in NASTY.into_iter().zip(1..) {
        let labels = [("kind", "nasty"), ("value", value)];
        let counter = registry.counter("nasty_total", "", &labels);
        counter.unwrap().add(by);
    }
    registry
}

/// Runs a pusher while something else is done, and flushes it then.
async fn while_pushing<T>(pusher: &mut Pusher, work: impl Future<Output = T>) -> T {
    let done = tokio::select! {
        never = pusher.run() => match never {},
        done = work => done,
    };
    pusher.flush().await.unwrap();
    done
}

/// Waits until there is something, for at most two minutes.
fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    towerkit_programs::until(what, Duration::from_secs(120), look)
}

/// Waits for a report that is so, for at most two minutes.
async fn reported(handle: &PusherHandle, is_so: impl Fn(&Report) -> bool) -> Report {
    let begun = Instant::now();
    loop {
        let report = handle.report();
        if is_so(&report) {
            return report;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{report:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
