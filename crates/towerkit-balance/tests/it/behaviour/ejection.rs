//! Ejection of instances that fail.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tower::Layer;
use towerkit_balance::{OutlierEjection, P2c, RoundRobin};
use towerkit_core::{Clock, Event};
use towerkit_discovery::Discovery;

use super::setup::{SECOND, call, count, instance, instances, layer, replying};

fn failing_if(
    fails: impl Fn(u16) -> bool + Send + Sync + 'static,
) -> impl Fn(u16) -> super::setup::Reply {
    move |number| {
        (
            Duration::ZERO,
            if fails(number) { Err("broken") } else { Ok(()) },
        )
    }
}

/// LB-05; grpc-rust 643, 2839 and 2182: a dead endpoint failed calls beside healthy ones.
#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_eject_an_instance() {
    let endpoints = replying(&Discovery::fixed(instances(10)), failing_if(|n| n == 3));
    let service = layer(RoundRobin::new())
        .outlier_ejection(OutlierEjection::new())
        .layer(endpoints);
    let counts = count(&service, 10, 1_000).await;
    assert_eq!(counts[3], 5);
    assert!(
        counts
            .iter()
            .enumerate()
            .all(|(n, count)| n == 3 || (105..=120).contains(count)),
        "{counts:?}"
    );
}

/// LB-05
#[tokio::test(start_paused = true)]
async fn at_most_a_tenth_or_one_is_ejected() {
    for (total, ejected) in [(3, 1), (10, 1), (19, 1), (20, 2), (40, 4)] {
        let endpoints = replying(&Discovery::fixed(instances(total)), failing_if(|n| n < 6));
        let layer = layer(RoundRobin::new()).outlier_ejection(OutlierEjection::new());
        let handle = layer.handle();
        let service = layer.layer(endpoints);
        count(&service, total.into(), 1_000).await;
        let all = handle.snapshot().instances;
        assert_eq!(
            all.iter().filter(|i| i.ejected_for.is_some()).count(),
            ejected,
            "of {total}"
        );
    }
}

/// LB-05; envoy 2671, 3263, 17504, istio 20135: the only instance was ejected.
#[tokio::test(start_paused = true)]
async fn the_last_instance_is_never_ejected() {
    let rule = OutlierEjection::new().max_ratio(1.0).unwrap();
    for total in [1, 2] {
        let endpoints = replying(&Discovery::fixed(instances(total)), failing_if(|_| true));
        let layer = layer(P2c::new()).outlier_ejection(rule);
        let handle = layer.handle();
        let service = layer.layer(endpoints);
        count(&service, total.into(), 100).await;
        let ejected = handle
            .snapshot()
            .instances
            .iter()
            .filter(|i| i.ejected_for.is_some())
            .count();
        assert_eq!(ejected, usize::from(total) - 1);
    }
}

/// LB-05: more than half are ejected.
#[tokio::test(start_paused = true)]
async fn in_panic_mode_all_instances_get_calls() {
    let rule = OutlierEjection::new().max_ratio(1.0).unwrap();
    let endpoints = replying(&Discovery::fixed(instances(4)), failing_if(|n| n != 0));
    let service = layer(RoundRobin::new())
        .outlier_ejection(rule)
        .layer(endpoints);
    count(&service, 4, 100).await;
    assert_eq!(count(&service, 4, 100).await, [25; 4]);
}

#[tokio::test(start_paused = true)]
async fn after_its_time_an_instance_is_on_trial() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = is_broken.clone();
    let endpoints = replying(
        &Discovery::fixed(instances(2)),
        failing_if(move |n| n == 0 && broken.load(Relaxed)),
    );
    let (clock, clock_control) = Clock::manual();
    let service = layer(RoundRobin::new())
        .clock(clock)
        .outlier_ejection(OutlierEjection::new())
        .layer(endpoints);
    assert_eq!(count(&service, 2, 100).await, [5, 95]);
    clock_control.advance(29 * SECOND);
    assert_eq!(count(&service, 2, 10).await, [0, 10]);
    // One more failure ejects it for twice the time.
    clock_control.advance(SECOND);
    assert_eq!(count(&service, 2, 10).await, [1, 9]);
    clock_control.advance(59 * SECOND);
    assert_eq!(count(&service, 2, 10).await, [0, 10]);
    is_broken.store(false, Relaxed);
    clock_control.advance(SECOND);
    assert_eq!(count(&service, 2, 100).await, [50, 50]);
    // A success has ended the trial.
    is_broken.store(true, Relaxed);
    assert_eq!(count(&service, 2, 100).await, [5, 95]);
}

/// Successes between the failures: no streak, and so no ejection.
#[tokio::test(start_paused = true)]
async fn failures_between_successes_eject_no_instance() {
    let calls = AtomicU64::new(0);
    let endpoints = replying(
        &Discovery::fixed(instances(2)),
        failing_if(move |_| calls.fetch_add(1, Relaxed) % 10 < 8),
    );
    let service = layer(RoundRobin::starting_at(0))
        .outlier_ejection(OutlierEjection::new())
        .layer(endpoints);
    let counts = count(&service, 2, 1_000).await;
    assert_eq!(counts, [500, 500]);
}

#[tokio::test(start_paused = true)]
async fn ejections_are_events() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let endpoints = replying(&Discovery::fixed(instances(2)), failing_if(|n| n == 1));
    let (clock, clock_control) = Clock::manual();
    let layer = layer(RoundRobin::new())
        .clock(clock)
        .name("stock")
        .events(move |event: &Event| seen.lock().unwrap().push(event.clone()))
        .outlier_ejection(OutlierEjection::new());
    let handle = layer.handle();
    let service = layer.layer(endpoints);
    count(&service, 2, 20).await;
    clock_control.advance(30 * SECOND);
    count(&service, 2, 2).await;
    handle.restore(&super::setup::address(1));
    let seen: Vec<_> = events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::Other {
                layer: "balance",
                name,
                event,
                message,
            } if &**name == "stock" => format!("{event} {message}"),
            event => panic!("{event:?}"),
        })
        .collect();
    let expected = [
        "instance_ejected 10.0.0.1:80: 5 failures in a row, for 30s",
        "instance_restored 10.0.0.1:80",
        "instance_ejected 10.0.0.1:80: 5 failures in a row, for 60s",
        "instance_restored 10.0.0.1:80",
    ];
    assert_eq!(seen, expected);
}

/// An instance that is gone must not count as ejected, or no other could be.
#[tokio::test(start_paused = true)]
async fn an_ejected_instance_that_is_removed_makes_room_for_another() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(3));
    let endpoints = replying(&discovery, failing_if(|n| n == 0 || n == 3));
    let service = layer(RoundRobin::new())
        .outlier_ejection(OutlierEjection::new())
        .layer(endpoints);
    assert_eq!(count(&service, 3, 100).await[0], 5);
    sender.set((1..4).map(instance));
    assert_eq!(count(&service, 4, 100).await[3], 5);
    // It comes back as a new one.
    sender.set(instances(3));
    assert_eq!(count(&service, 3, 100).await[0], 5);
}

/// A panic of the receiver of events leaves the call and the ejection in order.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_event_sink_is_caught() {
    let endpoints = replying(&Discovery::fixed(instances(2)), failing_if(|n| n == 0));
    let service = layer(RoundRobin::new())
        .events(|_: &Event| panic!("sink"))
        .outlier_ejection(OutlierEjection::new())
        .layer(endpoints);
    assert_eq!(count(&service, 2, 100).await, [5, 95]);
}

/// Panics of a service are failures of its instance.
#[tokio::test(start_paused = true)]
async fn an_instance_that_panics_is_ejected() {
    let endpoints = replying(&Discovery::fixed(instances(2)), |number| {
        assert!(number != 0, "the instance panics");
        (Duration::ZERO, Ok(()))
    });
    let service = layer(RoundRobin::starting_at(0))
        .outlier_ejection(OutlierEjection::new())
        .layer(endpoints);
    let mut panics = 0;
    for request in 0..100 {
        let service = service.clone();
        panics += u32::from(
            tokio::spawn(async move { call(&service, request).await })
                .await
                .is_err(),
        );
    }
    assert_eq!(panics, 5);
}
