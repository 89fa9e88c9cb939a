//! The registry in memory.

use std::time::Duration;

use tokio::time::sleep;
use towerkit_discovery::{Discovery, Instance, LeaseStatus, MemoryRegistry, Registry};

fn instance(port: u16) -> Instance {
    Instance::new(format!("127.0.0.1:{port}").parse().unwrap())
}

fn count(discovery: &Discovery) -> usize {
    discovery.current().instances.len()
}

/// SD-04
#[tokio::test(start_paused = true)]
async fn an_instance_that_is_not_renewed_is_gone_after_its_ttl() {
    let registry = MemoryRegistry::new();
    let service = registry.service("a").ttl(Duration::from_secs(3));
    let mut discovery = Discovery::spawn(service.clone());
    let mut lease = service.register(&instance(1)).await.unwrap();
    registry.insert("a", instance(2));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(count(&discovery), 2);
    assert_eq!(
        service.renew(&mut lease).await.unwrap(),
        LeaseStatus::Renewed
    );
    discovery.changed().await;
    sleep(Duration::from_millis(2900)).await;
    assert_eq!(count(&discovery), 2);
    sleep(Duration::from_millis(101)).await;
    assert_eq!(count(&discovery), 1);
    assert_eq!(service.renew(&mut lease).await.unwrap(), LeaseStatus::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_replaced_neither_renews_nor_removes_the_new_one() {
    let registry = MemoryRegistry::new();
    let service = registry.service("a");
    let mut first = service.register(&instance(1)).await.unwrap();
    let second = service.register(&instance(1)).await.unwrap();
    assert_eq!(service.renew(&mut first).await.unwrap(), LeaseStatus::Lost);
    service.deregister(first).await.unwrap();
    assert_eq!(registry.instances("a").len(), 1);
    service.deregister(second).await.unwrap();
    assert_eq!(registry.instances("a").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn services_are_apart_and_an_outage_keeps_the_last_set() {
    let registry = MemoryRegistry::new();
    registry.insert("a", instance(1));
    registry.insert("b", instance(2));
    let (a, b) = (
        Discovery::spawn(registry.service("a")),
        Discovery::spawn(registry.service("b")),
    );
    a.ready().await;
    b.ready().await;
    registry.set_reachable(false);
    registry.clear();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((count(&a), a.current().status.as_str()), (1, "stale"));
    registry.set_reachable(true);
    registry.insert("b", instance(3));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((count(&a), count(&b)), (0, 1));
    assert!(registry.remove("b", &instance(3).address));
    assert!(!registry.remove("b", &instance(3).address));
}
