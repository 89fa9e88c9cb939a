//! Instances of the preferred zone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use tower::Layer;
use towerkit_balance::{OutlierEjection, RoundRobin};
use towerkit_core::Clock;
use towerkit_discovery::{Discovery, Instance};

use super::setup::{SECOND, address, count, instance, layer, replying, succeeding};

/// Of each pair of numbers one is in the zone `a`.
fn zoned(numbers: std::ops::Range<u16>) -> impl Iterator<Item = Instance> {
    numbers.map(|n| instance(n).zone(if n % 2 == 0 { "a" } else { "b" }))
}

#[tokio::test(start_paused = true)]
async fn calls_stay_in_the_zone_while_it_has_enough_instances() {
    let (discovery, sender) = Discovery::channel();
    let layer = layer(RoundRobin::new()).prefer_zone("a", 2).unwrap();
    let service = layer.layer(succeeding(&discovery));
    sender.set(zoned(0..6));
    assert_eq!(count(&service, 6, 60).await, [20, 0, 20, 0, 20, 0]);
    sender.set(zoned(0..3));
    assert_eq!(count(&service, 3, 60).await, [30, 0, 30]);
    sender.set(zoned(0..2));
    assert_eq!(count(&service, 2, 60).await, [30, 30]);
    sender.set(zoned(0..6).filter(|instance| instance.zone.as_deref() == Some("b")));
    assert_eq!(count(&service, 6, 60).await, [0, 20, 0, 20, 0, 20]);
    sender.set([instance(0), instance(1)]);
    assert_eq!(count(&service, 2, 60).await, [30, 30]);
}

#[tokio::test(start_paused = true)]
async fn calls_leave_the_zone_while_its_instances_are_ejected() {
    let layer = layer(RoundRobin::new()).prefer_zone("a", 2).unwrap();
    let handle = layer.handle();
    let service = layer.layer(succeeding(&Discovery::fixed(zoned(0..6))));
    handle.eject(&address(0), SECOND);
    assert_eq!(count(&service, 6, 60).await, [0, 0, 30, 0, 30, 0]);
    let active = || {
        handle
            .snapshot()
            .instances
            .iter()
            .filter(|i| i.is_active)
            .count()
    };
    assert_eq!(active(), 3);
    handle.eject(&address(2), SECOND);
    assert_eq!(active(), 6);
    assert_eq!(count(&service, 6, 60).await, [0, 15, 0, 15, 15, 15]);
    handle.restore(&address(0));
    handle.restore(&address(2));
    assert_eq!(count(&service, 6, 60).await, [20, 0, 20, 0, 20, 0]);
}

/// The end of an ejection is noticed by a call, without a timer.
#[tokio::test(start_paused = true)]
async fn calls_return_to_the_zone_after_ejections() {
    let failing = Arc::new(AtomicU16::new(0));
    let broken = failing.clone();
    let endpoints = replying(&Discovery::fixed(zoned(0..4)), move |number| {
        let is_broken = number == broken.load(Relaxed);
        (
            Duration::ZERO,
            if is_broken { Err("broken") } else { Ok(()) },
        )
    });
    let (clock, clock_control) = Clock::manual();
    let service = layer(RoundRobin::new())
        .clock(clock)
        .outlier_ejection(OutlierEjection::new())
        .prefer_zone("a", 2)
        .unwrap()
        .layer(endpoints);
    let counts = count(&service, 4, 100).await;
    assert_eq!(counts[0], 5);
    assert!(counts[1] > 20 && counts[3] > 20, "{counts:?}");
    failing.store(99, Relaxed);
    clock_control.advance(30 * SECOND);
    count(&service, 4, 10).await;
    assert_eq!(count(&service, 4, 60).await, [30, 0, 30, 0]);
}
