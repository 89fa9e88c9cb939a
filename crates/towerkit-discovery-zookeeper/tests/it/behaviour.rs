use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use towerkit_discovery::{
    Discovery, Registrar,
    conformance::{Link, Proxy, Server},
};
use towerkit_discovery_zookeeper::ZooKeeper;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::server::{addresses, client, instance, raw, start, until, until_addresses, zookeeper};

/// go-kit GK-ZK-1
#[test]
fn servers_paths_services_and_times_that_make_no_sense_are_refused() {
    assert!(ZooKeeper::new::<&str>([]).is_err());
    for server in ["", "a", "a:0", "a b:1", "user:password@a:1"] {
        assert!(ZooKeeper::new([server]).is_err(), "{server}");
    }
    let zookeeper = || ZooKeeper::new(["127.0.0.1:2181", "[::1]:2181"]).unwrap();
    for path in ["", "a", "/", "/a/", "/a//b", "/.", "/a/..", "/a\0"] {
        assert!(zookeeper().path(path).is_err(), "{path}");
    }
    assert!(zookeeper().path("/a/b").is_ok());
    for service in ["", "a/b", ".", "..", "a\n"] {
        assert!(zookeeper().service(service).is_err(), "{service}");
    }
    for timeout in [0, 999, 3_600_001] {
        let timeout = Duration::from_millis(timeout);
        assert!(zookeeper().session_timeout(timeout).is_err(), "{timeout:?}");
    }
}

async fn create(raw: &Client, path: &str, data: &[u8]) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    raw.create(path, data, &options).await.unwrap();
}

async fn mkdir(raw: &Client, path: &str) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    raw.mkdir(path, &options).await.unwrap();
}

/// SD-12, go-kit GK-ZK-2: nodes of other programs, and data that is no instance.
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn nodes_of_others_are_read_and_hostile_ones_are_skipped() {
    let server = start().await;
    let raw = raw(&server).await;
    let discovery = Discovery::spawn(zookeeper(&server).service("addsvc").unwrap());
    assert!(discovery.ready().await.instances.is_empty());
    // The path of the service is made only now.
    mkdir(&raw, "/services/addsvc").await;
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let path = "/services/addsvc/_c_5f1b-";
    raw.create(path, b"http://1.2.3.4:8080", &options)
        .await
        .unwrap();
    create(&raw, "/services/addsvc/a", b"garbage").await;
    create(&raw, "/services/addsvc/b", &[0xff; 1000]).await;
    create(&raw, "/services/addsvc/c", &vec![b'['; 900_000]).await;
    mkdir(&raw, "/services/addsvc/d/e").await;
    create(&raw, "/services/addsvc/d/e/f", b"1.2.3.9:80").await;
    mkdir(&raw, "/services/addsvc2").await;
    create(&raw, "/services/addsvc2/a", b"1.2.3.8:80").await;
    until_addresses(&discovery, &["1.2.3.4:8080"]).await;
    raw.set_data(
        "/services/addsvc/a",
        br#"{"address": "1.2.3.5:80", "weight": 2}"#,
        None,
    )
    .await
    .unwrap();
    let snapshot = until_addresses(&discovery, &["1.2.3.4:8080", "1.2.3.5:80"]).await;
    assert_eq!(snapshot.instances[1].weight, 2);
    raw.delete("/services/addsvc/a", None).await.unwrap();
    until_addresses(&discovery, &["1.2.3.4:8080"]).await;
    // A second discovery of the same service does not end the watch of the first.
    drop(Discovery::spawn(
        zookeeper(&server).service("addsvc").unwrap(),
    ));
    create(&raw, "/services/addsvc/g", b"1.2.3.6:80").await;
    until_addresses(&discovery, &["1.2.3.4:8080", "1.2.3.6:80"]).await;
}

/// SD-12
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn twelve_thousand_nodes_and_long_data_are_read_up_to_the_capacity() {
    let server = start().await;
    let raw = raw(&server).await;
    mkdir(&raw, "/services/long").await;
    for number in 0..20 {
        let tag = "x".repeat(500_000);
        let data = format!("{{\"address\":\"10.1.0.{number}:80\",\"tags\":{{\"a\":\"{tag}\"}}}}");
        create(&raw, &format!("/services/long/{number}"), data.as_bytes()).await;
    }
    let long = Discovery::spawn(zookeeper(&server).service("long").unwrap());
    assert_eq!(long.ready().await.instances.len(), 20);

    mkdir(&raw, "/services/many").await;
    let path = |number: u32| format!("/services/many/{number:05}");
    for chunk in (0..12_000).collect::<Vec<u32>>().chunks(500) {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let mut writer = raw.new_multi_writer();
        for number in chunk {
            let data = format!("10.{}.{}.1:80", number / 250, number % 250);
            writer
                .add_create(&path(*number), data.as_bytes(), &options)
                .unwrap();
        }
        writer.commit().await.unwrap();
    }
    let started = Instant::now();
    let many = Discovery::spawn(zookeeper(&server).service("many").unwrap());
    assert_eq!(many.ready().await.instances.len(), 10_000);
    println!("10,000 nodes read in {:?}", started.elapsed());
    for chunk in (0..5_000).collect::<Vec<u32>>().chunks(500) {
        let mut writer = raw.new_multi_writer();
        for number in chunk {
            writer.add_delete(&path(*number), None).unwrap();
        }
        writer.commit().await.unwrap();
    }
    // Of those over the capacity some move up when others go.
    until(&many, |snapshot| snapshot.instances.len() == 7_000).await;
}

/// go-kit GK-ZK: deregistration removes the node that was made, and another session's is replaced.
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn a_registration_is_an_ephemeral_node_that_takes_the_place_of_another() {
    let server = start().await;
    let raw = raw(&server).await;
    let registrar = |weight| {
        let service = zookeeper(&server)
            .path("/shop/v1")
            .unwrap()
            .service("addsvc")
            .unwrap();
        Registrar::new(service, instance("10.0.0.7:80").weight(weight)).spawn()
    };
    let path = "/shop/v1/addsvc/10.0.0.7:80";
    let first = registrar(1);
    first.registered().await;
    let (data, stat) = raw.get_data(path).await.unwrap();
    assert_eq!(data, br#"{"address":"10.0.0.7:80","weight":1}"#);
    assert_ne!(stat.ephemeral_owner, 0);

    let service = zookeeper(&server)
        .path("/shop/v1")
        .unwrap()
        .service("addsvc")
        .unwrap();
    let discovery = Discovery::spawn(service);
    until_addresses(&discovery, &["10.0.0.7:80"]).await;
    let lowest = Arc::new(Mutex::new(usize::MAX));
    let seen = lowest.clone();
    let subscription = discovery.subscribe(move |snapshot| {
        let mut lowest = seen.lock().unwrap_or_else(PoisonError::into_inner);
        *lowest = snapshot.instances.len().min(*lowest);
    });
    let second = registrar(2);
    second.registered().await;
    let (data, replaced) = raw.get_data(path).await.unwrap();
    assert_eq!(data, br#"{"address":"10.0.0.7:80","weight":2}"#);
    assert_ne!(replaced.ephemeral_owner, stat.ephemeral_owner);
    until(&discovery, |snapshot| snapshot.instances[0].weight == 2).await;
    // The earlier registration does not remove that of the later.
    first.stop(Duration::from_secs(5)).await;
    assert!(raw.check_stat(path).await.unwrap().is_some());
    assert_eq!(*lowest.lock().unwrap(), 1);
    drop(subscription);
    // Its session stays, with a clone of the registration.
    let stopped = second.clone();
    second.stop(Duration::from_secs(5)).await;
    assert_eq!(stopped.status().as_str(), "stopped");
    assert!(raw.check_stat(path).await.unwrap().is_none());
}

/// A node that somebody deletes is made again.
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn a_deleted_node_is_registered_again() {
    let server = start().await;
    let raw = raw(&server).await;
    let zookeeper = zookeeper(&server)
        .session_timeout(Duration::from_secs(3))
        .unwrap();
    let registration = Registrar::new(
        zookeeper.service("addsvc").unwrap(),
        instance("10.0.0.1:80"),
    )
    .spawn();
    let discovery = Discovery::spawn(zookeeper.service("addsvc").unwrap());
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    raw.delete("/services/addsvc/10.0.0.1:80", None)
        .await
        .unwrap();
    let deleted = Instant::now();
    until_addresses(&discovery, &[]).await;
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    println!("registered {:?} after the deletion", deleted.elapsed());
    drop(registration);
}

/// A connection that breaks for a moment does not end the session.
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn a_broken_connection_keeps_the_session_and_loses_no_change() {
    let server = start().await;
    let raw = raw(&server).await;
    let proxy = Proxy::start(server.address()).await;
    let zookeeper = client(proxy.address());
    let registration = Registrar::new(
        zookeeper.service("addsvc").unwrap(),
        instance("10.0.0.1:80"),
    )
    .spawn();
    let discovery = Discovery::spawn(zookeeper.service("addsvc").unwrap());
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    let (_, before) = raw.get_data("/services/addsvc/10.0.0.1:80").await.unwrap();
    proxy.set_link(Link::Refused);
    create(&raw, "/services/addsvc/a", b"10.0.0.2:80").await;
    sleep(Duration::from_millis(200)).await;
    proxy.set_link(Link::Up);
    let healed = Instant::now();
    until_addresses(&discovery, &["10.0.0.1:80", "10.0.0.2:80"]).await;
    println!("right {:?} after a broken connection", healed.elapsed());
    let (_, after) = raw.get_data("/services/addsvc/10.0.0.1:80").await.unwrap();
    assert_eq!(before.ephemeral_owner, after.ephemeral_owner);
    drop(registration);
}

/// After a long outage the backoff of the library would be half a minute.
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn a_long_outage_is_over_within_two_seconds() {
    let mut server = start().await;
    let proxy = Proxy::start(server.address()).await;
    // With a session that outlives the outage.
    let zookeeper = client(proxy.address())
        .session_timeout(Duration::from_secs(50))
        .unwrap();
    let registration = Registrar::new(
        zookeeper.service("addsvc").unwrap(),
        instance("10.0.0.1:80"),
    )
    .heartbeat(Duration::from_millis(700))
    .unwrap()
    .spawn();
    let discovery = Discovery::spawn(zookeeper.service("addsvc").unwrap());
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    for _ in 0..3 {
        server.kill();
        let before = proxy.requests();
        sleep(Duration::from_secs(15)).await;
        let requests = proxy.requests() - before;
        assert_eq!(addresses(&discovery.current()), ["10.0.0.1:80"]);
        assert!(discovery.current().status.error().is_some());
        server.restart().await;
        let healed = Instant::now();
        until(&discovery, |snapshot| snapshot.status.error().is_none()).await;
        let found = healed.elapsed();
        registration.registered().await;
        println!(
            "{:.2} requests/s; right {found:?} after 15 s",
            requests as f64 / 15.0
        );
        assert!(
            healed.elapsed() < Duration::from_secs(2),
            "{:?}",
            healed.elapsed()
        );
        assert!(requests <= 30, "{requests}");
        assert_eq!(addresses(&discovery.current()), ["10.0.0.1:80"]);
    }
}

/// SD-16
#[tokio::test]
#[ignore = "needs zookeeper"]
async fn only_the_user_may_change_its_nodes_and_no_password_is_shown() {
    // For all threads of the process: one that is set for a thread misses the callsites that other tests have reached before.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(|| Log)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    LOG.replace(Some(String::new()));
    let server = start().await;
    let owner = zookeeper(&server).digest("ann", "canary-password");
    let registration =
        Registrar::new(owner.service("addsvc").unwrap(), instance("10.0.0.1:80")).spawn();
    let readers = Discovery::spawn(zookeeper(&server).service("addsvc").unwrap());
    until_addresses(&readers, &["10.0.0.1:80"]).await;

    let other = zookeeper(&server).digest("ann", "canary-wrong");
    let refused = Registrar::new(other.service("addsvc").unwrap(), instance("10.0.0.2:80")).spawn();
    let mut shown = format!("{owner:?} {:?}", owner.service("addsvc").unwrap());
    while refused.status().as_str() != "failing" {
        sleep(Duration::from_millis(10)).await;
    }
    shown.push_str(&format!("{:?}", refused.status()));
    assert!(shown.contains("NoAuth"), "{shown}");
    let raw = raw(&server).await;
    assert!(
        raw.delete("/services/addsvc/10.0.0.1:80", None)
            .await
            .is_err()
    );
    registration.stop(Duration::from_secs(5)).await;
    until_addresses(&readers, &[]).await;
    let log = LOG.take().unwrap();
    assert!(log.contains("new session established"), "{log}");
    shown.push_str(&log);
    assert!(!shown.contains("canary"), "{shown}");
}

thread_local! {
    /// What this thread has logged, if it is to be kept.
    static LOG: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes to the log of the thread.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| {
            if let Some(log) = log {
                log.push_str(&String::from_utf8_lossy(bytes));
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
