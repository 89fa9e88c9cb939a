//! The handle of a layer.

use tower::Layer;
use towerkit_balance::{BalanceLayer, P2c, PeakEwma, RoundRobin};
use towerkit_core::{Clock, LayerExt};
use towerkit_discovery::Discovery;

use super::setup::{MS, SECOND, address, count, instance, instances, layer, replying, succeeding};

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_each_instance() {
    let all = [instance(0).weight(3), instance(1), instance(2).weight(0)];
    let endpoints = replying(&Discovery::fixed(all), |number| {
        (10 * MS, if number == 1 { Err("broken") } else { Ok(()) })
    });
    let layer = layer(PeakEwma::new()).failure_penalty(SECOND);
    let handle = layer.handle();
    assert!(handle.snapshot().instances.is_empty());
    let service = layer.layer(endpoints);
    count(&service, 3, 100).await;
    let seen = handle.snapshot().instances;
    let [first, broken, unused] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (first.instance.weight, first.is_active, first.failures),
        (3, true, 0)
    );
    let latency = first.latency.unwrap();
    assert!(latency > 8 * MS && latency < 13 * MS, "{latency:?}");
    assert!(broken.failures >= 1 && u64::from(broken.consecutive_failures) == broken.failures);
    assert!(broken.latency.unwrap() > 500 * MS);
    assert_eq!(
        (unused.is_active, unused.calls_in_flight, unused.latency),
        (false, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_ejected_and_restored_by_hand() {
    let (clock, clock_control) = Clock::manual();
    let layer = layer(RoundRobin::new()).clock(clock);
    let handle = layer.handle();
    let service = layer.layer(succeeding(&Discovery::fixed(instances(3))));
    assert!(handle.eject(&address(0), 60 * SECOND));
    assert!(!handle.eject(&address(0), 60 * SECOND));
    assert!(!handle.eject(&address(7), 60 * SECOND));
    assert_eq!(count(&service, 3, 60).await, [0, 30, 30]);
    clock_control.advance(20 * SECOND);
    let first = &handle.snapshot().instances[0];
    assert_eq!((first.ejected_for, first.ejections), (Some(40 * SECOND), 1));
    assert!(handle.restore(&address(0)));
    assert!(!handle.restore(&address(0)));
    assert_eq!(count(&service, 3, 60).await, [20, 20, 20]);
    // The time of an ejection by hand ends, too.
    handle.eject(&address(1), SECOND);
    clock_control.advance(SECOND);
    assert_eq!(count(&service, 3, 60).await, [20, 20, 20]);
}

/// An ejection that is over, but that no call has looked at since, must not stand in the way of one by hand; nor a shorter one.
#[tokio::test(start_paused = true)]
async fn an_ejection_by_hand_replaces_one_that_is_over_or_shorter() {
    let (clock, clock_control) = Clock::manual();
    let layer = layer(RoundRobin::new()).clock(clock);
    let handle = layer.handle();
    let service = layer.layer(succeeding(&Discovery::fixed(instances(3))));
    assert!(handle.eject(&address(0), SECOND));
    clock_control.advance(SECOND);
    assert!(handle.eject(&address(0), 60 * SECOND));
    assert_eq!(count(&service, 3, 60).await, [0, 30, 30]);
    assert!(!handle.eject(&address(0), 10 * SECOND));
    assert!(!handle.eject(&address(0), 600 * SECOND));
    clock_control.advance(599 * SECOND);
    assert_eq!(count(&service, 3, 60).await, [0, 30, 30]);
    clock_control.advance(SECOND);
    assert_eq!(count(&service, 3, 60).await, [20, 20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_covers_the_services_of_its_layer() {
    let layer = BalanceLayer::new(P2c::new());
    let handle = layer.handle();
    let layer = layer.name("later").plain("test");
    let first = layer.layer(succeeding(&Discovery::fixed(instances(2))));
    let second = layer
        .clone()
        .layer(succeeding(&Discovery::fixed(instances(3))));
    assert_eq!(handle.snapshot().instances.len(), 5);
    drop(first);
    assert_eq!(handle.snapshot().instances.len(), 3);
    drop(second);
    assert_eq!(handle.snapshot().instances.len(), 0);
}

/// Two services of one layer have turns of their own: calls that alternate between them would otherwise skip instances.
#[tokio::test(start_paused = true)]
async fn services_of_one_layer_have_turns_of_their_own() {
    let layer = layer(RoundRobin::starting_at(0));
    let one = layer.layer(succeeding(&Discovery::fixed(instances(2))));
    let other = layer.layer(succeeding(&Discovery::fixed(instances(2))));
    let mut counts = [0; 2];
    for request in 0..10 {
        counts[usize::from(super::setup::call(&one, request).await)] += 1;
        super::setup::call(&other, request).await;
    }
    assert_eq!(counts, [5, 5]);
}
