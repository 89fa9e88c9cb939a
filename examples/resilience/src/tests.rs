//! LS-03, LS-08: a server under more load than it can serve, compared with itself at rest, in time that stands still while it works.

use std::time::Duration;

use axum::{Router, body::Body, http::Request};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower::ServiceExt;

use crate::{Serve, serve::app};

const WORK: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

fn server(slots: u32) -> Router {
    let addr = "127.0.0.1:0".parse().unwrap();
    app(&Serve {
        addr,
        slots,
        work: WORK,
    })
    .unwrap()
}

/// Makes so many calls of a path, one in each of these intervals, and returns the status and the latency of each.
async fn load(app: &Router, path: &str, calls: u32, every: Duration) -> Vec<(u16, Duration)> {
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    for call in 0..calls {
        sleep_until(start + every * call).await;
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(request);
        under_way.spawn(async move {
            let due = Instant::now();
            (answer.await.unwrap().status().as_u16(), due.elapsed())
        });
    }
    under_way.join_all().await
}

fn latencies(calls: &[(u16, Duration)], status: u16) -> impl Iterator<Item = Duration> {
    let calls = calls.iter().filter(move |call| call.0 == status);
    calls.map(|call| call.1)
}

/// LS-03: 20 places of 20 ms are 1000 calls a second. At ten times that, what is admitted is served as fast as at rest, and the rest
/// hears so at once.
#[tokio::test(start_paused = true)]
async fn overload_ten_times_over_costs_the_admitted_nothing() {
    let app = server(20);
    let rest = load(&app, "/work", 500, SECOND / 500).await;
    let overload = load(&app, "/work", 20_000, SECOND / 10_000).await;
    let at_rest = latencies(&rest, 200).max().unwrap();
    assert_eq!(latencies(&rest, 200).count(), 500);
    let served = latencies(&overload, 200).count();
    // A place that falls free waits for the next call, and timers have a granularity of a millisecond.
    assert!((1_880..=2_020).contains(&served), "{served} in two seconds");
    assert!(latencies(&overload, 200).max().unwrap() <= at_rest);
    assert_eq!(latencies(&overload, 503).count(), 20_000 - served);
    assert_eq!(latencies(&overload, 503).max(), Some(Duration::ZERO));
}

/// LS-08: at fifty times the load of what one place can do, health and metrics are answered, all and at once.
#[tokio::test(start_paused = true)]
async fn overload_fifty_times_over_does_not_keep_the_operator_out() {
    let app = server(4);
    let (overload, health, metrics) = tokio::join!(
        load(&app, "/work", 20_000, SECOND / 10_000),
        load(&app, "/healthz", 100, SECOND / 50),
        load(&app, "/metrics", 20, SECOND / 10),
    );
    for operator in [health, metrics] {
        assert!(operator.iter().all(|call| *call == (200, Duration::ZERO)));
    }
    assert!(latencies(&overload, 503).count() > 19_000);
}
