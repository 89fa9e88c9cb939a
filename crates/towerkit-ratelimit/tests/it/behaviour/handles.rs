//! Handles that are taken before the setters are called.

use std::time::Duration;

use tower::{Layer, ServiceExt};
use towerkit_core::{Call, Clock, IntoPolicy, LayerExt};
use towerkit_ratelimit::{DelayingRateLimitLayer, KeyedRateLimitLayer, Quota, RateLimitLayer};
use towerkit_test::{Action, Probe};

fn quota(burst: u32) -> Quota {
    Quota::per_second(1).unwrap().burst(burst).unwrap()
}

fn key(call: &Call<'_, Action>) -> Option<bool> {
    Some(*call.request == Action::Succeed)
}

#[tokio::test]
async fn a_handle_follows_later_setters() {
    let (clock, clock_control) = Clock::manual();
    clock_control.advance(Duration::from_secs(1));

    let layer = RateLimitLayer::new(quota(5));
    let handle = layer.handle();
    handle.set_quota(quota(3));
    let layer = layer.clock(clock.clone()).name("late").plain("probe");
    let call = layer.layer(Probe::new()).oneshot(Action::Succeed);
    call.await.unwrap();
    assert_eq!(
        (handle.snapshot().available, handle.snapshot().quota),
        (2, quota(3))
    );

    let layer = DelayingRateLimitLayer::new(quota(5), Duration::from_secs(1)).unwrap();
    let handle = layer.handle();
    handle.set_quota(quota(3));
    let layer = layer.queue(7).unwrap().clock(clock.clone()).name("late");
    let call = layer.layer(Probe::new()).oneshot(Action::Succeed);
    call.await.unwrap();
    assert_eq!(
        (handle.snapshot().available, handle.snapshot().quota),
        (2, quota(3))
    );

    let layer = KeyedRateLimitLayer::new(quota(5), key);
    let handle = layer.handle();
    handle.set_quota(0, quota(3)).unwrap();
    handle.set_override(&false, quota(9)).unwrap();
    let layer = layer.capacity(7).unwrap().total(quota(8)).clock(clock);
    handle.set_total(quota(7)).unwrap();
    let layer = layer.name("late");
    let call = layer.layer(Probe::new()).oneshot(Action::Succeed);
    call.await.unwrap();
    assert_eq!((handle.available(&true), handle.available(&false)), (2, 9));
    assert_eq!(
        (handle.snapshot().total, handle.snapshot().keys),
        (Some(quota(7)), 1)
    );
}

/// After a layer has made a service, or its policy was taken out, the next setter starts with a new state. So does a setter of a clone.
#[tokio::test]
async fn a_handle_stays_with_the_services_of_its_layer() {
    let (clock, _clock_control) = Clock::manual();
    let (other, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(5)).clock(clock);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let changed = layer.clone().clock(other.clone()).layer(Probe::new());
    changed.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(handle.snapshot().available, 5);
    let layer = layer.clock(other.clone());
    service.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(
        (
            handle.snapshot().available,
            layer.handle().snapshot().available
        ),
        (4, 5)
    );

    let handle = layer.handle();
    let _role = layer.clone().into_policy();
    let layer = layer.clock(other);
    let service = layer.layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(
        (
            handle.snapshot().available,
            layer.handle().snapshot().available
        ),
        (5, 4)
    );
}
