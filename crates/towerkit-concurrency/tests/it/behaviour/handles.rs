//! Handles that are taken before the layer is finished.

use std::{fmt::Debug, time::Duration};

use tower::{Layer, Service, ServiceExt};
use towerkit_concurrency::{
    AdaptiveThrottleLayer, Classes, ConcurrencyLimitLayer, Priority, Queue,
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
        let layer = layer.classes(Classes::new(), class).plain("probe");
        let mut service = layer.layer(Probe::new());
        let call = readied(&mut service).await.call(Action::Pend(9));
        assert_eq!((handle.in_flight(), handle.name()), (1, "stock"));
        handle.change(2).unwrap();
        readied(&mut service)
            .await
            .call(Action::Succeed)
            .await
            .unwrap();
        drop(call);
        assert_eq!(handle.in_flight(), 0);
    });
}

/// A layer that is changed after it has made a service begins another limit, and the handle stays with the service.
#[test]
fn a_handle_stays_with_the_services() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(1).unwrap();
        let handle = layer.handle();
        let mut service = layer.layer(Probe::new());
        let later = layer.name("later").handle();
        let _call = readied(&mut service).await.call(Action::Pend(9));
        assert_eq!((handle.in_flight(), later.in_flight()), (1, 0));
    });
}

#[test]
fn a_handle_on_a_throttle_follows_later_setters() {
    run_paused(async {
        let layer = AdaptiveThrottleLayer::new();
        let handle = layer.handle();
        let layer = layer.multiple(3.0).unwrap().name("stock").plain("probe");
        let mut service = layer.layer(Probe::new());
        readied(&mut service)
            .await
            .call(Action::Succeed)
            .await
            .unwrap();
        assert_eq!((handle.calls(), handle.name()), (1, "stock"));
    });
}
