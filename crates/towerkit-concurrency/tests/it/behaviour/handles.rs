//! Handles that are taken before the layer is fully configured.

use std::{fmt::Debug, time::Duration};

use tower::{Layer, Service, ServiceExt};
use towerkit_concurrency::{
    AdaptiveThrottleLayer, ConcurrencyLimitLayer, Priority, PriorityClasses, Queue,
};
use towerkit_core::{Call, LayerExt};
use towerkit_test::{Action, Probe, run_paused};

async fn readied<S: Service<Action, Error: Debug>>(service: &mut S) -> &mut S {
    service.ready().await.unwrap()
}

#[test]
fn a_handle_follows_later_setters() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(1).unwrap();
        let handle = layer.handle();
        let queue = Queue::new(3, Duration::from_secs(1)).unwrap();
        let class = |_: &Call<'_, Action>| Priority::Critical;
        let layer = layer.name("stock").queue(queue);
        let layer = layer.classes(PriorityClasses::new(), class).plain("probe");
        let mut service = layer.layer(Probe::new());
        let call = readied(&mut service).await.call(Action::Pend(9));
        assert_eq!(handle.snapshot().in_flight, 1);
        assert_eq!(handle.name(), "stock");
        handle.set_limit(2).unwrap();
        readied(&mut service)
            .await
            .call(Action::Succeed)
            .await
            .unwrap();
        drop(call);
        assert_eq!(handle.snapshot().in_flight, 0);
    });
}

/// A setter that is called after the layer has made a service creates another limit; the handle stays with the service.
#[test]
fn a_handle_stays_with_the_services() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(1).unwrap();
        let handle = layer.handle();
        let mut service = layer.layer(Probe::new());
        let later = layer.name("later").handle();
        let _call = readied(&mut service).await.call(Action::Pend(9));
        assert_eq!(
            (handle.snapshot().in_flight, later.snapshot().in_flight),
            (1, 0)
        );
    });
}

#[test]
fn a_handle_on_a_throttle_follows_later_setters() {
    run_paused(async {
        let layer = AdaptiveThrottleLayer::new();
        let handle = layer.handle();
        let layer = layer.multiplier(3.0).unwrap().name("stock").plain("probe");
        let mut service = layer.layer(Probe::new());
        readied(&mut service)
            .await
            .call(Action::Succeed)
            .await
            .unwrap();
        assert_eq!(handle.snapshot().calls, 1);
        assert_eq!(handle.name(), "stock");
    });
}
