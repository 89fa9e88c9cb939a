//! Instances that come and go, and what is left of them.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use towerkit_balance::{BalanceLayer, BuildTable, Candidates, Maglev, P2c, Picker, RoundRobin};
use towerkit_core::{BoxError, Call};
use towerkit_discovery::{Discovery, Instance, InstanceService};
use towerkit_http::HttpExt;

use super::setup::{MS, call, count, instance, instances, layer, number, replying, succeeding};

/// linkerd2 6842, 8956, 10491, 11480: stale addresses after a deployment.
#[tokio::test(start_paused = true)]
async fn a_removed_instance_gets_no_further_call() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(10));
    let service = layer(P2c::new()).layer(succeeding(&discovery));
    count(&service, 10, 100).await;
    sender.set(instances(10).filter(|instance| number(instance) != 4));
    assert_eq!(count(&service, 10, 2_000).await[4], 0);
}

/// A set is never seen in parts, whatever happens at the same time.
#[test]
fn picks_and_changes_at_the_same_time_agree() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(2));
    let service = layer(P2c::new()).layer(succeeding(&discovery));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let service = service.clone();
                scope.spawn(move || {
                    towerkit_test::run_paused(async {
                        for request in 0..20_000 {
                            call(&service, request).await;
                        }
                    });
                })
            })
            .collect();
        let mut count = 1;
        while threads.iter().any(|thread| !thread.is_finished()) {
            count = count % 7 + 1;
            sender.set(instances(count));
        }
    });
}

/// pingora 821, skypilot 10444, envoy 6130: counts were lost or negative when the set changed.
#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_kept_when_the_set_changes() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(2));
    let layer = layer(RoundRobin::new());
    let handle = layer.handle();
    let service = layer.layer(replying(&discovery, |_| (100 * MS, Ok(()))));
    let calls: Vec<_> = (0..10)
        .map(|n| tokio::spawn(service.clone().oneshot(n)))
        .collect();
    sleep(MS).await;
    let in_flight = || {
        handle
            .snapshot()
            .instances
            .iter()
            .map(|i| i.calls_in_flight)
            .collect::<Vec<_>>()
    };
    assert_eq!(in_flight(), [5, 5]);
    for version in 0..5 {
        sender.set(instances(3).map(|instance| instance.version(version.to_string())));
        assert_eq!(in_flight(), [5, 5, 0]);
    }
    // Removed and added again: a new service, without calls.
    sender.set((1..3).map(instance));
    sender.set(instances(3));
    assert_eq!(in_flight(), [0, 5, 0]);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(in_flight(), [0, 0, 0]);
}

/// pingora 269, envoy 6130: a call was in flight to the head of its response only.
#[tokio::test(start_paused = true)]
async fn a_call_is_in_flight_to_the_end_of_its_body() {
    let endpoints = Discovery::fixed(instances(1)).endpoints(|_| {
        InstanceService::new(service_fn(|_: Request<()>| async {
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from("body"))))
        }))
    });
    let layer = BalanceLayer::new(P2c::new()).http();
    let handle = layer.handle();
    let service = layer.layer(endpoints);
    let in_flight = || handle.snapshot().instances[0].calls_in_flight;
    let response = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(in_flight(), 1);
    let other = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(in_flight(), 2);
    drop(other);
    assert_eq!(in_flight(), 1);
    response.into_body().collect().await.unwrap();
    assert_eq!(in_flight(), 0);
}

/// go-kit 906, 1111, 222: services were made for each method, and leaked.
#[tokio::test(start_paused = true)]
async fn two_services_of_one_discovery_share_the_services_of_instances_and_leave_none() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(2));
    let made = Arc::new(());
    let (alive, counted): (Weak<()>, _) = (Arc::downgrade(&made), made);
    let endpoints = discovery.endpoints(move |instance| {
        let (held, number) = (counted.clone(), number(instance));
        InstanceService::new(service_fn(move |_: u64| {
            let _held = &held;
            async move { Ok::<_, BoxError>(number) }
        }))
    });
    let sum = layer(P2c::new()).layer(endpoints.clone());
    let concat = layer(P2c::new()).layer(endpoints);
    // One for the function, and one for each service: the state of a service is shared by its clones.
    let of = |instances: usize, clones: usize| 1 + instances * clones;
    let before = alive.strong_count();
    assert_eq!(before, of(2, 3));
    for request in 0..10 {
        call(&sum, request).await;
        call(&concat, request).await;
    }
    assert_eq!(alive.strong_count(), before);
    sender.set(instances(1));
    assert_eq!(alive.strong_count(), of(1, 3));
    drop(sum);
    assert_eq!(alive.strong_count(), of(1, 2));
    drop((concat, discovery));
    assert_eq!(alive.strong_count(), 0);
    // Nobody listens any more.
    sender.set(instances(3));
}

/// A call in flight keeps what it needs when all else is dropped.
#[tokio::test(start_paused = true)]
async fn a_call_ends_although_its_instance_and_its_service_are_gone() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(1));
    let service =
        layer(P2c::new()).layer(replying(&discovery, |_| (Duration::from_secs(5), Ok(()))));
    let call = tokio::spawn(service.oneshot(1));
    sleep(MS).await;
    sender.set([]);
    drop((discovery, sender));
    assert_eq!(call.await.unwrap().unwrap(), 0);
}

/// Panics on demand: as a key extractor for a request, as a table for a set of three.
#[derive(Debug, Clone)]
struct Panicking;

impl BuildTable for Panicking {
    type Table = usize;
    fn build_table(&self, instances: &[Instance]) -> usize {
        assert!(instances.len() != 3, "the table panics");
        instances.len()
    }
}

impl Picker<u64> for Panicking {
    fn pick(
        &self,
        table: &usize,
        candidates: &impl Candidates,
        call: &Call<'_, u64>,
        _: u32,
    ) -> usize {
        assert_eq!(*table, candidates.count());
        assert!(*call.request != 13, "the picker panics");
        0
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_picker_leaves_all_in_order() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(2));
    let layer = layer(Panicking);
    let handle = layer.handle();
    let service = layer.layer(succeeding(&discovery));
    let panicking = service.clone();
    assert!(
        tokio::spawn(async move { call(&panicking, 13).await })
            .await
            .is_err()
    );
    // The set before stays in use.
    sender.set(instances(3));
    assert_eq!(call(&service, 1).await, 0);
    assert_eq!(handle.snapshot().instances.len(), 2);
    sender.set(instances(4));
    assert_eq!(handle.snapshot().instances.len(), 4);
    assert!(
        handle
            .snapshot()
            .instances
            .iter()
            .all(|i| i.calls_in_flight == 0)
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_instances_are_balanced() {
    let discovery = Discovery::fixed(instances(10_000));
    let key = |call: &Call<'_, u64>| Some(*call.request);
    let service = layer(Maglev::new(key)).layer(succeeding(&discovery));
    let counts = count(&service, 10_000, 20_000).await;
    assert!(counts.iter().filter(|count| **count > 0).count() > 8_000);
}
