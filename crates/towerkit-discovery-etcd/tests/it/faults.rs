use std::time::Duration;

use etcd_client::CompactionOptions;
use tokio::time::{Instant, sleep};
use towerkit_discovery::{
    Discovery, Registrar, RegistrationStatus,
    conformance::{Link, Proxy, Server, ServerProcess},
};
use towerkit_discovery_etcd::Etcd;

use crate::server::{addresses, etcd, instance, raw, start, until, until_addresses};

/// SD-08: a watch that comes back at a compacted revision reads all keys again.
#[tokio::test]
#[ignore = "needs etcd"]
async fn a_compaction_while_the_watch_is_away_loses_no_change() {
    for program in ["etcd", "etcd-3.5"] {
        let server = start(program).await;
        let mut raw = raw(&server).await;
        let proxy = Proxy::start(server.address()).await;
        let etcd = Etcd::new([format!("http://{}", proxy.address())]).unwrap();
        raw.put("/services/addsvc/a", "10.0.0.1:80", None)
            .await
            .unwrap();
        let discovery = Discovery::spawn(etcd.service("addsvc").unwrap());
        until_addresses(&discovery, &["10.0.0.1:80"]).await;
        proxy.set_link(Link::Refused);
        raw.delete("/services/addsvc/a", None).await.unwrap();
        let mut revision = 0;
        for number in 0..50 {
            let put = raw
                .put(
                    "/services/addsvc/b",
                    format!("10.0.0.2:{}", 80 + number),
                    None,
                )
                .await;
            revision = put.unwrap().header().unwrap().revision();
        }
        raw.compact(revision, Some(CompactionOptions::new().with_physical()))
            .await
            .unwrap();
        until(&discovery, |snapshot| snapshot.status.error().is_some()).await;
        assert_eq!(addresses(&discovery.current()), ["10.0.0.1:80"]);
        proxy.set_link(Link::Up);
        let healed = Instant::now();
        until_addresses(&discovery, &["10.0.0.2:129"]).await;
        println!("{program}: right {:?} after a compaction", healed.elapsed());
        assert!(healed.elapsed() < Duration::from_secs(2));
    }
}

/// SD-08: one of three members goes on without a leader, when the two others are killed.
#[tokio::test]
#[ignore = "needs etcd"]
async fn a_member_without_a_leader_is_not_believed() {
    let mut servers = cluster().await;
    let etcd = Etcd::new([format!("http://{}", servers[0].address())]).unwrap();
    let discovery = Discovery::spawn(etcd.service("addsvc").unwrap());
    let service = etcd
        .service("addsvc")
        .unwrap()
        .ttl(Duration::from_secs(60))
        .unwrap();
    let registration = Registrar::new(service, instance("10.0.0.1:80")).spawn();
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    servers[1].kill();
    servers[2].kill();
    let killed = Instant::now();
    let snapshot = until(&discovery, |snapshot| snapshot.status.error().is_some()).await;
    println!(
        "stale {:?} after the loss of the majority: {}",
        killed.elapsed(),
        snapshot.status.error().unwrap()
    );
    assert_eq!(addresses(&snapshot), ["10.0.0.1:80"]);
    servers[1].restart().await;
    let healed = Instant::now();
    let snapshot = until(&discovery, |snapshot| snapshot.status.error().is_none()).await;
    // An election takes one to two seconds by itself.
    println!("right {:?} after the majority is back", healed.elapsed());
    assert_eq!(addresses(&snapshot), ["10.0.0.1:80"]);
    drop(registration);
}

/// SD-08: the leader is killed, and the client has all three members.
#[tokio::test]
#[ignore = "needs etcd"]
async fn the_loss_of_one_member_is_made_up_for_by_the_others() {
    for index in 0..3 {
        let mut servers = cluster().await;
        let urls = servers
            .iter()
            .map(|server| format!("http://{}", server.address()));
        let etcd = Etcd::new(urls).unwrap();
        let discovery = Discovery::spawn(etcd.service("addsvc").unwrap());
        let registered =
            Registrar::new(etcd.service("addsvc").unwrap(), instance("10.0.0.1:80")).spawn();
        until_addresses(&discovery, &["10.0.0.1:80"]).await;
        let address = servers[(index + 1) % 3].address();
        servers[index].kill();
        let killed = Instant::now();
        let mut raw = etcd_client::Client::connect([format!("http://{address}")], None)
            .await
            .unwrap();
        while raw
            .put("/services/addsvc/b", "10.0.0.2:80", None)
            .await
            .is_err()
        {
            sleep(Duration::from_millis(50)).await;
        }
        println!(
            "member {index}: a change was accepted {:?} after the kill",
            killed.elapsed()
        );
        let changed = Instant::now();
        until_addresses(&discovery, &["10.0.0.1:80", "10.0.0.2:80"]).await;
        until(&discovery, |snapshot| snapshot.status.error().is_none()).await;
        println!("member {index}: and seen {:?} later", changed.elapsed());
        assert!(changed.elapsed() < Duration::from_secs(3));
        drop(registered);
    }
}

/// go-kit 1043, and a key that somebody deletes.
#[tokio::test]
#[ignore = "needs etcd"]
async fn a_lost_lease_and_a_deleted_key_are_registered_again() {
    let server = start("etcd").await;
    let mut raw = raw(&server).await;
    let service = || etcd(&server).service("addsvc").unwrap();
    let registered = service().ttl(Duration::from_secs(3)).unwrap();
    let registration = Registrar::new(registered, instance("10.0.0.1:80")).spawn();
    let discovery = Discovery::spawn(service());
    until_addresses(&discovery, &["10.0.0.1:80"]).await;

    let found = raw.get("/services/addsvc/10.0.0.1:80", None).await.unwrap();
    raw.lease_revoke(found.kvs()[0].lease()).await.unwrap();
    let lost = Instant::now();
    until_addresses(&discovery, &[]).await;
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    println!(
        "registered {:?} after the loss of the lease",
        lost.elapsed()
    );
    assert!(lost.elapsed() < Duration::from_secs(2));

    raw.delete("/services/addsvc/10.0.0.1:80", None)
        .await
        .unwrap();
    until_addresses(&discovery, &[]).await;
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    let status = registration.registered().await;
    assert!(matches!(status, RegistrationStatus::Registered));
}

/// The watch is silent, and no connection breaks.
#[tokio::test]
#[ignore = "needs etcd"]
async fn a_silent_watch_is_noticed_within_three_seconds() {
    let server = start("etcd").await;
    let proxy = Proxy::start(server.address()).await;
    let etcd = Etcd::new([format!("http://{}", proxy.address())]).unwrap();
    let discovery = Discovery::spawn(etcd.service("addsvc").unwrap());
    discovery.ready().await;
    // The watch is asked for signs of life, and gives them.
    sleep(Duration::from_secs(7)).await;
    assert_eq!(discovery.current().status.as_str(), "current");
    proxy.set_link(Link::Cut);
    let cut = Instant::now();
    let snapshot = until(&discovery, |snapshot| snapshot.status.error().is_some()).await;
    println!(
        "stale {:?} after the cut: {}",
        cut.elapsed(),
        snapshot.status.error().unwrap()
    );
    assert!(cut.elapsed() < Duration::from_secs(4));
}

/// Twenty services over one client that cannot connect make no more attempts than one.
#[tokio::test]
#[ignore = "needs etcd"]
async fn services_of_one_client_connect_together() {
    let mut server = start("etcd").await;
    let proxy = Proxy::start(server.address()).await;
    let etcd = Etcd::new([format!("http://{}", proxy.address())]).unwrap();
    let spawn = |number| Discovery::spawn(etcd.service(&format!("service{number}")).unwrap());
    let discoveries: Vec<_> = (0..20).map(spawn).collect();
    for discovery in &discoveries {
        discovery.ready().await;
    }
    server.kill();
    for discovery in &discoveries {
        until(discovery, |snapshot| snapshot.status.error().is_some()).await;
    }
    let before = proxy.requests();
    sleep(Duration::from_secs(6)).await;
    let requests = proxy.requests() - before;
    println!("{:.1} requests/s of 20 services", requests as f64 / 6.0);
    assert!(requests <= 12, "{requests}");
    server.restart().await;
    let healed = Instant::now();
    for discovery in &discoveries {
        until(discovery, |snapshot| snapshot.status.error().is_none()).await;
    }
    println!("all are right {:?} after the restart", healed.elapsed());
    assert!(healed.elapsed() < Duration::from_secs(4));
}

/// Starts a cluster with three members.
async fn cluster() -> Vec<ServerProcess> {
    // Three servers in one process each: the ports of all are chosen first.
    let ports: Vec<u16> = std::iter::repeat_with(towerkit_programs::free_port)
        .take(3)
        .collect();
    let name = |index: usize| format!("m{index}");
    let peers: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(index, port)| format!("{}=http://127.0.0.1:{port}", name(index)))
        .collect();
    let starts = (0..3).map(|index| {
        let (peers, port) = (peers.join(","), ports[index]);
        ServerProcess::start(
            ("GET /version HTTP/1.0\r\n\r\n", "etcdserver"),
            move |files| {
                let client = format!("http://127.0.0.1:{}", files.ports[0]);
                let peer = format!("http://127.0.0.1:{port}");
                let mut command = towerkit_programs::command("etcd");
                command
                    .env_clear()
                    .args(["--name", &name(index), "--unsafe-no-fsync"]);
                command.arg("--data-dir").arg(&files.data);
                command.args([
                    "--listen-client-urls",
                    &client,
                    "--advertise-client-urls",
                    &client,
                ]);
                command.args([
                    "--listen-peer-urls",
                    &peer,
                    "--initial-advertise-peer-urls",
                    &peer,
                ]);
                command.args(["--initial-cluster", &peers]);
                command
            },
        )
    });
    let started: Vec<_> = starts.map(tokio::spawn).collect();
    let mut servers = Vec::new();
    for server in started {
        servers.push(server.await.unwrap());
    }
    servers
}
