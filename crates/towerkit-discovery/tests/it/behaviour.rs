//! The behaviour of a discovery as its readers see it, in the order of the docs.

use std::{
    future::pending,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use towerkit_core::{Event, EventSink};
use towerkit_discovery::{
    Address, Discovery, DiscoveryOptions, DiscoveryStatus, Instance, InstanceSender,
    InstanceService, InstanceSet, Source, StaticInstances,
};

fn instance(address: &str) -> Instance {
    Instance::new(address.parse().unwrap())
}

fn addresses(discovery: &Discovery) -> Vec<String> {
    let instances = discovery.current().instances;
    instances
        .iter()
        .map(|instance| instance.address.to_string())
        .collect()
}

fn status(discovery: &Discovery) -> &'static str {
    discovery.current().status.as_str()
}

/// A source that hands its sender to the test.
struct Manual(tokio::sync::oneshot::Sender<InstanceSender>);

impl Source for Manual {
    async fn run(self, sender: InstanceSender) {
        let _ = self.0.send(sender);
        pending::<()>().await;
    }
}

async fn manual(options: DiscoveryOptions) -> (Discovery, InstanceSender) {
    let (send, receive) = tokio::sync::oneshot::channel();
    let discovery = options.spawn(Manual(send));
    (discovery, receive.await.unwrap())
}

#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl EventSink for Messages {
    fn emit(&self, event: &Event) {
        if let Event::Other { event, message, .. } = event {
            self.0.lock().unwrap().push(format!("{event}: {message}"));
        }
    }
}

impl Messages {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn an_address_is_written_and_read_as_an_authority() {
    // SD-11
    assert_eq!(Address::new("::1", 80).unwrap().to_string(), "[::1]:80");
    assert_eq!(
        Address::new("[::1]", 80).unwrap(),
        "[::1]:80".parse().unwrap()
    );
    assert_eq!(
        Address::new("::ffff:10.0.0.1", 80).unwrap().to_string(),
        "10.0.0.1:80"
    );
    assert_eq!(
        Address::new("A.Example.", 80).unwrap().to_string(),
        "a.example:80"
    );
}

#[test]
fn a_hostile_address_is_an_error_that_names_it() {
    // SD-12
    for text in [
        "",
        ":",
        ":80",
        "host",
        "host:",
        "host:0",
        "host:70000",
        "host:-1",
        "host:+80",
        "host: 80",
        "ho st:80",
        "host\r\nx: y:80",
        "user@host:80",
        "http://host:80",
        "::1:80",
        "[::1:80",
        "::1]:80",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "999.1.1.1:80",
        "host/..:80",
        "unix:/run/x",
        "-a:80",
        "a..b:80",
        "ä:80",
        "host\0:80",
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(error.to_string().starts_with("invalid "), "{error}");
    }
    let long = format!("{}:80", "a.".repeat(200_000));
    assert!(long.parse::<Address>().unwrap_err().to_string().len() < 300);
}

#[test]
fn a_set_has_each_address_once() {
    // SD-10
    let discovery = Discovery::fixed([instance("b:1"), instance("a:1").weight(2), instance("a:1")]);
    assert_eq!(addresses(&discovery), ["a:1", "b:1"]);
    assert_eq!(discovery.current().instances[0].weight, 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_registry_keeps_the_last_set_and_differs_from_no_instances() {
    // SD-09
    let (discovery, sender) = manual(DiscoveryOptions::new()).await;
    assert_eq!(status(&discovery), "pending");
    sender.set([instance("a:1")]);
    assert_eq!(status(&discovery), "current");
    sender.fail("first");
    sender.fail("second");
    let snapshot = discovery.current();
    assert_eq!(snapshot.status.error().unwrap().to_string(), "first");
    assert_eq!(addresses(&discovery), ["a:1"]);
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("stale", 1)
    );
    sender.set([]);
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("current", 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_set_is_given_up_after_keep_for_with_the_first_error() {
    let options = DiscoveryOptions::new()
        .keep_for(Duration::from_secs(60))
        .unwrap();
    let (discovery, sender) = manual(options).await;
    sender.set([instance("a:1")]);
    sender.fail("first");
    sleep(Duration::from_millis(59_999)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("stale", 1)
    );
    sender.fail("second");
    sleep(Duration::from_millis(2)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("lost", 0)
    );
    sender.fail("third");
    assert_eq!(
        discovery.current().status.error().unwrap().to_string(),
        "first"
    );
    sender.set([instance("a:1")]);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("current", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_set_is_held_back_for_hold_empty() {
    // SD-09
    let options = DiscoveryOptions::new()
        .hold_empty(Duration::from_secs(10))
        .unwrap();
    let (discovery, sender) = manual(options).await;
    sender.set([]);
    assert_eq!(status(&discovery), "current");
    sender.set([instance("a:1")]);
    sender.set([]);
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("stale", 1)
    );
    sleep(Duration::from_secs(5)).await;
    // The same again does not begin the time anew, and instances end it.
    sender.set([]);
    sleep(Duration::from_millis(5_001)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("current", 0)
    );
    sender.set([instance("a:1")]);
    sender.set([]);
    sender.set([instance("b:1")]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(addresses(&discovery), ["b:1"]);
    // An error meanwhile is an error: the set stays without a limit.
    sender.set([]);
    sender.fail("away");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("stale", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_not_announce_local_addresses_unless_in_development() {
    // SD-13
    let local = || ["127.0.0.1:1", "169.254.169.254:80", "10.0.0.1:1"].map(instance);
    let messages = Messages::default();
    let (discovery, sender) = manual(DiscoveryOptions::new().events(messages.clone())).await;
    sender.set(local());
    sender.set(local());
    assert_eq!(addresses(&discovery), ["10.0.0.1:1"]);
    let expected = [
        "instances_refused: 2 refused by address: 127.0.0.1:1, 169.254.169.254:80",
        "changed: current, 1 instances",
    ];
    assert_eq!(messages.take(), expected);
    let (discovery, sender) = manual(DiscoveryOptions::new().development()).await;
    sender.set(local());
    assert_eq!(addresses(&discovery).len(), 3);
    let discovery = Discovery::spawn(StaticInstances::new(local()));
    assert_eq!(discovery.ready().await.instances.len(), 3);
}

#[test]
fn a_set_without_bounds_is_capped() {
    // SD-12
    let (discovery, sender) = Discovery::channel();
    let all = (0..1_000_000_u32).map(|n| {
        let [_, a, b, c] = n.to_be_bytes();
        Instance::from(std::net::SocketAddr::from(([10, a, b, c], 1)))
    });
    sender.set(all);
    assert_eq!(discovery.current().instances.len(), InstanceSet::CAPACITY);
    let large = "x".repeat(1 << 20);
    sender.set([
        instance("a:1").tag("large", &large).zone(large.as_str()),
        instance("b:1").tag("small", "x"),
    ]);
    let instances = discovery.current().instances;
    assert!(instances[0].tags.is_empty() && instances[0].zone.is_none());
    assert_eq!(instances[1].tags["small"], "x");
}

#[tokio::test(start_paused = true)]
async fn changed_resolves_at_each_change_and_never_for_the_same_set() {
    let (discovery, sender) = Discovery::channel();
    let mut reader = discovery.clone();
    sender.set([instance("a:1")]);
    sender.set([instance("b:1")]);
    reader.changed().await;
    assert_eq!(addresses(&reader), ["b:1"]);
    sender.set([instance("b:1")]);
    assert!(
        timeout(Duration::from_secs(1), reader.changed())
            .await
            .is_err()
    );
    sender.fail("away");
    reader.changed().await;
}

#[tokio::test(start_paused = true)]
async fn the_source_is_dropped_with_the_last_reader() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    impl Source for Dropped {
        async fn run(self, sender: InstanceSender) {
            sender.set([instance("10.0.0.1:1")]);
            pending::<()>().await;
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let discovery = Discovery::spawn(Dropped(dropped.clone()));
    discovery.ready().await;
    let endpoints = discovery.endpoints(|_| InstanceService::new(()));
    let subscription = endpoints.subscribe(|_| {});
    drop((discovery, endpoints));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(dropped.load(SeqCst), 0);
    drop(subscription);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(dropped.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_or_ends_leaves_the_last_set() {
    struct Panics;
    impl Source for Panics {
        async fn run(self, sender: InstanceSender) {
            sender.set([instance("10.0.0.1:1")]);
            sleep(Duration::from_secs(1)).await;
            panic!("source");
        }
    }
    let discovery = Discovery::spawn(Panics);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        (status(&discovery), addresses(&discovery).len()),
        ("stale", 1)
    );
    let error = discovery.current().status.error().unwrap().to_string();
    assert_eq!(error, "the source panicked");
}

/// A service that counts how many of its kind exist.
struct Connection(Arc<AtomicUsize>);

impl Connection {
    fn open(count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, SeqCst);
        Arc::new(Self(count.clone()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[test]
fn each_instance_has_one_service_which_is_closed_once_after_its_calls() {
    // SD-10, SD-15, go-kit 906, 1111, 222
    let (discovery, sender) = Discovery::channel();
    let (open, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opened, count) = (open.clone(), made.clone());
    let endpoints = discovery.endpoints(move |_| {
        count.fetch_add(1, SeqCst);
        InstanceService::new(Connection::open(&opened))
    });
    sender.set(["a:1", "a:1", "b:1"].map(instance));
    assert_eq!((made.load(SeqCst), open.load(SeqCst)), (2, 2));
    let kept = endpoints.current()[0].id();
    let calls: Vec<_> = (0..100)
        .map(|_| endpoints.current()[1].service().clone())
        .collect();
    // Metadata changes the instance, and not its service.
    sender.set([instance("a:1").weight(7)]);
    assert_eq!((made.load(SeqCst), open.load(SeqCst)), (2, 2));
    assert_eq!(endpoints.current()[0].instance().weight, 7);
    assert_eq!(endpoints.current()[0].id(), kept);
    drop(calls);
    assert_eq!(open.load(SeqCst), 1);
    drop((endpoints, sender, discovery));
    assert_eq!(open.load(SeqCst), 0);
}

#[test]
fn endpoints_keep_their_services_while_the_registry_is_away() {
    // go-kit wipes the set upon an error
    let (discovery, sender) = Discovery::channel();
    let endpoints = discovery.endpoints(|_| InstanceService::new(()));
    sender.set([instance("a:1")]);
    let id = endpoints.current()[0].id();
    sender.fail("away");
    let set = endpoints.current();
    assert!(matches!(set.status, DiscoveryStatus::Stale { .. }));
    assert_eq!(set[0].id(), id);
}

#[test]
fn an_instance_for_which_the_function_panics_is_left_out_until_the_next_change() {
    let messages = Messages::default();
    let (discovery, sender) = Discovery::channel();
    let fail = Arc::new(AtomicUsize::new(1));
    let remaining = fail.clone();
    let endpoints = discovery.endpoints(move |instance| {
        if instance.address.port() == 2 && remaining.load(SeqCst) > 0 {
            remaining.fetch_sub(1, SeqCst);
            panic!("make");
        }
        InstanceService::new(())
    });
    let _seen =
        endpoints.subscribe(move |set| messages.0.lock().unwrap().push(format!("{}", set.len())));
    sender.set([instance("a:1"), instance("a:2")]);
    assert_eq!(endpoints.current().len(), 1);
    sender.set([instance("a:1"), instance("a:2"), instance("a:3")]);
    assert_eq!(endpoints.current().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_made_anew_at_most_once_a_second() {
    // influxdb_iox 6508
    let discovery = Discovery::fixed([instance("a:1")]);
    let endpoints = discovery.endpoints(|_| InstanceService::new(()));
    let first = endpoints.current()[0].id();
    assert!(!endpoints.recreate(first));
    sleep(Duration::from_secs(1)).await;
    assert!(endpoints.recreate(first));
    assert!(!endpoints.recreate(first));
    let second = endpoints.current()[0].id();
    assert_ne!(first, second);
    assert!(!endpoints.recreate(second));
}

#[test]
fn errors_of_any_type_are_reported() {
    let (discovery, sender) = Discovery::channel();
    sender.fail(io::Error::other("refused"));
    assert_eq!(
        discovery.current().status.error().unwrap().to_string(),
        "refused"
    );
    assert_eq!(status(&discovery), "stale");
}
