use std::{
    mem,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{Driver, Link, Proxy, Server};
use crate::{
    Discovery, DiscoverySnapshot, DiscoveryStatus, Instance, Registrar, Registration,
    RegistrationStatus,
};

/// The limit for a change to be seen.
const SEEN: Duration = Duration::from_secs(2);
/// The limit for instances to be right after a fault.
const CONVERGENCE: Duration = Duration::from_secs(2);
/// For how long they must stay right then.
const STABLE: Duration = Duration::from_secs(3);
/// The limit for all else, which no check measures.
const PATIENCE: Duration = Duration::from_secs(30);
/// The requests in a second that a client may send while they fail.
const MAX_RATE: f64 = 2.0;

/// A client behind a proxy, a service that it observes, and an instance that it has registered.
struct Subject<'a, D: Driver> {
    driver: &'a D,
    proxy: Proxy,
    client: D::Client,
    discovery: Discovery,
    registration: Registration,
}

impl<'a, D: Driver> Subject<'a, D> {
    async fn start(driver: &'a D, server: SocketAddr) -> Self {
        let proxy = Proxy::start(server).await;
        let client = driver.connect(proxy.address()).await;
        let discovery = Discovery::spawn(driver.source(&client, "addsvc"));
        let subject = Self {
            driver,
            proxy,
            registration: register(driver, &client, "addsvc", instance(1)),
            client,
            discovery,
        };
        subject
            .wait_for("the instance is seen", PATIENCE, |snapshot| {
                has(snapshot, &[1])
            })
            .await;
        subject
    }

    /// Waits for a state of the discovery, and returns the time that it took.
    async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        is_met: impl Fn(&DiscoverySnapshot) -> bool,
    ) -> Duration {
        wait_for(&self.discovery, what, limit, is_met).await
    }

    /// Takes part in a fault for `span`: the set stays, and few requests are sent.
    async fn endure(&self, what: &str, span: Duration) {
        let before = self.proxy.requests();
        let start = Instant::now();
        while start.elapsed() < span {
            let snapshot = self.discovery.current();
            let addresses = addresses(&snapshot);
            assert_eq!(addresses, [address(1)], "{what}: the last set is kept");
            sleep(Duration::from_millis(20)).await;
        }
        let requests = self.proxy.requests() - before;
        let rate = requests as f64 / span.as_secs_f64();
        println!("{what}: {rate:.2} requests/s in {span:?}");
        // The requests that were under way at the start are no repetitions: one of the source, and one of the registration.
        let limit = MAX_RATE * span.as_secs_f64() + 2.0;
        assert!(
            requests as f64 <= limit,
            "{what}: {requests} requests in {span:?}"
        );
    }

    /// Waits until the registry is in use again and the instance registered, and stays so.
    async fn recover(&self, what: &str, limit: Duration) {
        let start = Instant::now();
        let mut right_since = None;
        loop {
            let is_right = has(&self.discovery.current(), &[1])
                && matches!(self.registration.status(), RegistrationStatus::Registered);
            match (is_right, right_since) {
                (true, None) => right_since = Some(start.elapsed()),
                (true, Some(since)) if start.elapsed() > since + STABLE => break,
                (false, _) => right_since = None,
                _ => {}
            }
            assert!(
                right_since.unwrap_or_else(|| start.elapsed()) <= limit,
                "{what}: not right after {limit:?}: {:?} {:?}",
                self.discovery.current(),
                self.registration.status(),
            );
            sleep(Duration::from_millis(10)).await;
        }
        let converged = right_since.expect("the loop ends when it is right");
        println!("{what}: right {converged:.1?} after its end");
        self.is_in_use(what).await;
    }

    /// Checks that changes are seen.
    async fn is_in_use(&self, what: &str) {
        let second = register(self.driver, &self.client, "addsvc", instance(2));
        let seen = self
            .wait_for(what, self.seen(), |snapshot| has(snapshot, &[1, 2]))
            .await;
        let start = Instant::now();
        second.stop(PATIENCE).await;
        self.wait_for(what, self.seen(), |snapshot| has(snapshot, &[1]))
            .await;
        let gone = start.elapsed();
        println!("{what}: a registration was seen after {seen:.1?}, its end after {gone:.1?}");
    }

    /// The limit for a change to be seen.
    fn seen(&self) -> Duration {
        SEEN + self.driver.interval()
    }

    /// The limit for instances to be right after a fault of which the registration has learned, or may learn a heartbeat later.
    fn convergence(&self, has_noticed: bool) -> Duration {
        let heartbeat = self.driver.ttl() / 3;
        let unnoticed = if has_noticed {
            Duration::ZERO
        } else {
            heartbeat
        };
        CONVERGENCE + self.driver.interval() + unnoticed
    }
}

/// Checks registration, metadata and deregistration of two instances.
pub async fn an_instance_is_seen_with_its_metadata_until_it_is_deregistered<D: Driver>(
    driver: &D,
    server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    let metadata = driver.metadata();
    let mut expected = instance(1);
    if !metadata.weight {
        expected.weight = 1;
    }
    expected.zone.take_if(|_| !metadata.zone);
    expected.version.take_if(|_| !metadata.version);
    let snapshot = subject.discovery.current();
    let seen = &snapshot.instances[0];
    assert_eq!(
        (&seen.address, seen.weight, &seen.zone, &seen.version),
        (
            &expected.address,
            expected.weight,
            &expected.zone,
            &expected.version
        )
    );
    if metadata.tags {
        for (key, value) in &*expected.tags {
            assert_eq!(seen.tags.get(key), Some(value), "{:?}", seen.tags);
        }
    }
    subject.is_in_use("a second instance").await;
    // A registration replaces an earlier one of the same instance.
    let again = register(driver, &subject.client, "addsvc", instance(1).weight(7));
    if metadata.weight {
        subject
            .wait_for("the new weight", subject.seen(), |snapshot| {
                has(snapshot, &[1]) && snapshot.instances[0].weight == 7
            })
            .await;
    }
    again.stop(PATIENCE).await;
    subject.registration.stop(PATIENCE).await;
    subject
        .wait_for("none is left", subject.seen(), |snapshot| {
            has(snapshot, &[])
        })
        .await;
}

/// Checks that services do not mix, and that one without instances is not an error.
pub async fn one_client_serves_several_services<D: Driver>(driver: &D, server: impl Server) {
    let subject = Subject::start(driver, server.address()).await;
    let numbers = 10..16;
    let registrations: Vec<_> = numbers
        .clone()
        .map(|number| {
            let service = format!("service{number}");
            register(driver, &subject.client, &service, instance(number))
        })
        .collect();
    for number in numbers {
        let source = driver.source(&subject.client, &format!("service{number}"));
        let discovery = Discovery::spawn(source);
        wait_for(&discovery, "its instance", PATIENCE, |snapshot| {
            has(snapshot, &[number])
        })
        .await;
    }
    let unknown = Discovery::spawn(driver.source(&subject.client, "unknown"));
    wait_for(&unknown, "no instances", PATIENCE, |snapshot| {
        has(snapshot, &[])
    })
    .await;
    println!(
        "{} services over {} connections",
        registrations.len() + 2,
        subject.proxy.connections()
    );
    for registration in registrations {
        registration.stop(PATIENCE).await;
    }
}

/// Checks that an instance is gone soon after its TTL if its process was killed.
pub async fn an_instance_that_dies_is_gone_after_its_ttl<D: Driver>(
    driver: &D,
    server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    let address = server.address();
    let (registered, is_registered) = oneshot::channel();
    let dying = driver.clone();
    // Its runtime ends without the end of its tasks, as a process that is killed does.
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        runtime.block_on(async {
            let client = dying.connect(address).await;
            let registration = register(&dying, &client, "addsvc", instance(2));
            registration.registered().await;
            mem::forget(registration);
        });
        runtime.shutdown_background();
        let _ = registered.send(());
    });
    subject
        .wait_for("the second instance", PATIENCE, |snapshot| {
            has(snapshot, &[1, 2])
        })
        .await;
    assert!(is_registered.await.is_ok());
    let limit = driver.ttl() + driver.interval() + Duration::from_secs(1);
    let gone = subject
        .wait_for("the dead instance is gone", limit, |snapshot| {
            has(snapshot, &[1])
        })
        .await;
    println!(
        "killed instance: gone {gone:.1?} after its last sign, TTL {:?}",
        driver.ttl()
    );
}

/// Checks `kill -9` of the registry, and its restart with its data.
pub async fn the_last_set_serves_on_while_the_registry_is_killed<D: Driver>(
    driver: &D,
    mut server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    server.kill();
    subject.endure("killed", Duration::from_secs(8)).await;
    let snapshot = subject.discovery.current();
    assert_eq!(snapshot.status.as_str(), "stale");
    server.restart().await;
    let limit = subject.convergence(true);
    subject.recover("killed", limit).await;
}

/// Checks a registry that is stopped for two TTLs and goes on.
pub async fn the_last_set_serves_on_while_the_registry_is_stopped<D: Driver>(
    driver: &D,
    mut server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    server.pause();
    subject.endure("stopped", 2 * driver.ttl()).await;
    server.resume();
    let limit = subject.convergence(false);
    subject.recover("stopped", limit).await;
}

/// Checks a network that refuses connections.
pub async fn the_last_set_serves_on_while_connections_are_refused<D: Driver>(
    driver: &D,
    server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    subject.proxy.set_link(Link::Refused);
    subject.endure("refused", 2 * driver.ttl()).await;
    assert_eq!(subject.discovery.current().status.as_str(), "stale");
    subject.proxy.set_link(Link::Up);
    let limit = subject.convergence(true);
    subject.recover("refused", limit).await;
}

/// Checks a network that loses all data for two TTLs, during which another instance registers.
pub async fn a_change_that_was_missed_while_the_network_was_cut_is_seen_afterwards<D: Driver>(
    driver: &D,
    server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    let direct = driver.connect(server.address()).await;
    subject.proxy.set_link(Link::Cut);
    let missed = register(driver, &direct, "addsvc", instance(3));
    subject.endure("cut", 2 * driver.ttl()).await;
    assert_eq!(missed.registered().await.as_str(), "registered");
    subject.proxy.set_link(Link::Up);
    let limit = subject.convergence(false);
    let converged = subject
        .wait_for("the missed change", limit, |snapshot| {
            has(snapshot, &[1, 3])
        })
        .await;
    println!("cut: right {converged:.1?} after its end");
    missed.stop(PATIENCE).await;
    subject.recover("cut", limit).await;
}

/// Checks a registry that loses its data.
pub async fn wiped_registry_gets_the_instance_again<D: Driver>(
    driver: &D,
    mut server: impl Server,
) {
    let subject = Subject::start(driver, server.address()).await;
    subject.proxy.set_link(Link::Refused);
    server.kill();
    server.wipe();
    server.restart().await;
    let direct = driver.connect(server.address()).await;
    let discovery = Discovery::spawn(driver.source(&direct, "addsvc"));
    wait_for(&discovery, "the data are gone", PATIENCE, |snapshot| {
        has(snapshot, &[])
    })
    .await;
    subject.proxy.set_link(Link::Up);
    let limit = subject.convergence(false);
    subject.recover("wiped", limit).await;
}

/// Checks that no task and no connection is left.
pub async fn no_task_and_no_connection_is_left_after_the_last_handle<D: Driver>(
    driver: &D,
    server: impl Server,
) {
    // What starts once for all clients of a process is not left over from one.
    let first = Subject::start(driver, server.address()).await;
    first.registration.stop(PATIENCE).await;
    drop(first);
    let metrics = runtime::Handle::current().metrics();
    sleep(Duration::from_secs(1)).await;
    let before = metrics.num_alive_tasks();
    let subject = Subject::start(driver, server.address()).await;
    subject.registration.stop(PATIENCE).await;
    let Subject {
        proxy,
        client,
        discovery,
        registration,
        ..
    } = subject;
    drop((client, discovery, registration));
    let is_free = async {
        // The task of the proxy.
        while proxy.connections() > 0 || metrics.num_alive_tasks() > before + 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(5), is_free).await.is_ok(),
        "{} connections and {} tasks are left",
        proxy.connections(),
        metrics.num_alive_tasks() - before - 1
    );
}

fn register<D: Driver>(
    driver: &D,
    client: &D::Client,
    service: &str,
    instance: Instance,
) -> Registration {
    Registrar::new(driver.registry(client, service, driver.ttl()), instance).spawn()
}

fn address(number: u8) -> String {
    format!("10.1.2.{number}:8080")
}

fn instance(number: u8) -> Instance {
    let address = address(number).parse().expect("the address is valid");
    Instance::new(address)
        .weight(3)
        .zone("eu-1a")
        .version("1.2.3")
        .tag("canary", "yes")
        .tag("team", "search & find")
}

fn addresses(snapshot: &DiscoverySnapshot) -> Vec<String> {
    let instances = snapshot.instances.iter();
    instances
        .map(|instance| instance.address.to_string())
        .collect()
}

/// True if the registry confirms exactly these instances.
fn has(snapshot: &DiscoverySnapshot, numbers: &[u8]) -> bool {
    matches!(snapshot.status, DiscoveryStatus::Current)
        && addresses(snapshot)
            .into_iter()
            .eq(numbers.iter().map(|number| address(*number)))
}

async fn wait_for(
    discovery: &Discovery,
    what: &str,
    limit: Duration,
    is_met: impl Fn(&DiscoverySnapshot) -> bool,
) -> Duration {
    let mut discovery = discovery.clone();
    let start = Instant::now();
    let wait = async {
        while !is_met(&discovery.current()) {
            discovery.changed().await;
        }
    };
    if timeout(limit, wait).await.is_err() {
        panic!("{what}: not after {limit:?}: {:?}", discovery.current());
    }
    start.elapsed()
}
