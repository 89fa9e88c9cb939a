//! tower's `Discover`, in both directions.

use std::{convert::Infallible, future::ready, pin::pin, time::Duration};

use futures_util::{FutureExt, StreamExt, future::poll_fn, stream};
use tokio::time::sleep;
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    discover::{Change, Discover},
    load::{CompleteOnResponse, PendingRequestsDiscover},
    service_fn,
};
use towerkit_discovery::{
    Address, DiscoverSource, Discovery, Endpoints, Instance, InstanceSender, InstanceService,
};

fn instance(address: &str) -> Instance {
    Instance::new(address.parse().unwrap())
}

type EchoFuture = std::future::Ready<Result<String, Infallible>>;

fn endpoints(
    discovery: &Discovery,
) -> Endpoints<
    impl Service<(), Response = String, Error = Infallible, Future = EchoFuture>
    + Clone
    + Send
    + Sync
    + Unpin
    + 'static,
> {
    discovery.endpoints(|instance| {
        let address = instance.address.to_string();
        InstanceService::new(service_fn(move |()| ready(Ok(address.clone()))))
    })
}

fn set(sender: &InstanceSender, addresses: &[&str]) {
    sender.set(addresses.iter().map(|address| instance(address)));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_set_is_the_fewest_changes_of_tower() {
    let (discovery, sender) = Discovery::channel();
    let mut changes = pin!(endpoints(&discovery).into_discover());
    let mut next = async || {
        let change = poll_fn(|context| changes.as_mut().poll_discover(context));
        match tokio::time::timeout(Duration::from_secs(1), change)
            .await
            .ok()??
            .unwrap()
        {
            Change::Insert(address, _) => Some(format!("+{address}")),
            Change::Remove(address) => Some(format!("-{address}")),
        }
    };
    set(&sender, &["a:1", "b:1"]);
    assert_eq!(next().await.as_deref(), Some("+a:1"));
    assert_eq!(next().await.as_deref(), Some("+b:1"));
    assert_eq!(next().await, None);
    set(&sender, &["b:1", "c:1"]);
    sender.fail("away");
    assert_eq!(next().await.as_deref(), Some("-a:1"));
    assert_eq!(next().await.as_deref(), Some("+c:1"));
    assert_eq!(next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_stream_is_woken_by_a_change() {
    let (discovery, sender) = Discovery::channel();
    let mut changes = Box::pin(endpoints(&discovery).into_discover());
    let waiting = tokio::spawn(async move { changes.next().await.is_some() });
    sleep(Duration::from_secs(1)).await;
    set(&sender, &["a:1"]);
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_made_anew_is_inserted_again() {
    let (discovery, sender) = Discovery::channel();
    set(&sender, &["a:1"]);
    let endpoints = endpoints(&discovery);
    let mut changes = pin!(endpoints.clone().into_discover());
    assert!(changes.next().now_or_never().is_some());
    sleep(Duration::from_secs(2)).await;
    assert!(endpoints.recreate(endpoints.current()[0].id()));
    let change = changes.next().now_or_never().unwrap().unwrap().unwrap();
    assert!(matches!(change, Change::Insert(address, _) if address.to_string() == "a:1"));
}

#[tokio::test(start_paused = true)]
async fn the_balancer_of_tower_calls_the_instances() {
    let (discovery, sender) = Discovery::channel();
    set(&sender, &["a:1", "b:1"]);
    let discover = endpoints(&discovery).into_discover();
    let loads = PendingRequestsDiscover::new(discover, CompleteOnResponse::default());
    let mut balance = Balance::new(loads);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        seen.insert(balance.ready().await.unwrap().call(()).await.unwrap());
    }
    assert_eq!(seen.len(), 2);
    set(&sender, &["b:1"]);
    for _ in 0..20 {
        assert_eq!(
            balance.ready().await.unwrap().call(()).await.unwrap(),
            "b:1"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_tower_that_are_there_together_are_one_set() {
    let key = |address: &str| address.parse::<Address>().unwrap();
    let changes = [
        Ok(Change::Insert(key("a:1"), ())),
        Ok(Change::Insert(key("b:1"), ())),
        Ok(Change::Remove(key("a:1"))),
        Ok(Change::Remove(key("z:1"))),
    ];
    let later = stream::once(async {
        sleep(Duration::from_secs(1)).await;
        Err("away")
    });
    let discover = stream::iter(changes).chain(later);
    let source = DiscoverSource::new(discover, |address: &Address, &()| {
        Instance::new(address.clone())
    });
    let mut discovery = Discovery::spawn(source);
    discovery.changed().await;
    let snapshot = discovery.current();
    assert_eq!(
        (snapshot.status.as_str(), snapshot.instances.len()),
        ("current", 1)
    );
    discovery.changed().await;
    let snapshot = discovery.current();
    assert_eq!(
        (snapshot.status.as_str(), snapshot.instances.len()),
        ("stale", 1)
    );
}
