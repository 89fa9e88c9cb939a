use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use tokio::time::{Instant, sleep};
use towerkit_discovery::{Discovery, DiscoveryOptions, DiscoverySnapshot};
use towerkit_discovery_dns::{Dns, DnsResolver};

use crate::{
    name_server::{NameServer, Reply, Transport, a, aaaa, cname, name, of, srv},
    wait::{addresses, until},
};

const SERVICE: &str = "_addsvc._tcp.test.";

fn spawn(server: &NameServer, dns: Dns) -> Discovery {
    let resolver = DnsResolver::new([server.address]).unwrap();
    DiscoveryOptions::new()
        .development()
        .spawn(dns.resolver(&resolver))
}

fn service(server: &NameServer) -> Discovery {
    spawn(server, Dns::srv(SERVICE).unwrap())
}

fn host(server: &NameServer) -> Discovery {
    spawn(server, Dns::host("addsvc.test", 80).unwrap())
}

fn is_current(snapshot: &DiscoverySnapshot) -> bool {
    snapshot.status.as_str() == "current"
}

fn is_stale(snapshot: &DiscoverySnapshot) -> bool {
    snapshot.status.as_str() == "stale"
}

/// Returns what the error of a discovery that fails from the begin says.
async fn first_error(discovery: &Discovery) -> String {
    let snapshot = until(discovery, is_stale).await;
    assert!(snapshot.instances.is_empty());
    snapshot.status.error().unwrap().to_string()
}

/// SD-14, go-kit GK-DN-1
#[tokio::test]
async fn srv_records_of_the_lowest_priority_become_instances() {
    let server = NameServer::start(of(vec![
        srv(SERVICE, 60, (10, 60, 9001), "a.test."),
        srv(SERVICE, 60, (10, 40, 9002), "b.test."),
        srv(SERVICE, 60, (20, 10, 9003), "backup.test."),
        a("a.test.", 60, [10, 0, 0, 1]),
        a("b.test.", 60, [10, 0, 0, 2]),
        aaaa("b.test.", 60, [0xfd00, 0, 0, 0, 0, 0, 0, 2]),
        a("backup.test.", 60, [10, 0, 0, 3]),
    ]))
    .await;
    let snapshot = service(&server).ready().await;
    assert_eq!(
        addresses(&snapshot),
        ["10.0.0.1:9001", "10.0.0.2:9002", "[fd00::2]:9002"]
    );
    let weights: Vec<_> = snapshot
        .instances
        .iter()
        .map(|instance| instance.weight)
        .collect();
    assert_eq!(weights, [120, 40, 40]);
    assert_eq!(snapshot.instances[1].tags["target"], "b.test");
}

/// SD-14
#[tokio::test]
async fn the_next_priority_is_used_if_no_target_of_the_lowest_has_an_address() {
    let server = NameServer::start(of(vec![
        srv(SERVICE, 60, (10, 60, 9001), "gone.test."),
        srv(SERVICE, 60, (20, 10, 9003), "backup.test."),
        a("backup.test.", 60, [10, 0, 0, 3]),
    ]))
    .await;
    assert_eq!(
        addresses(&service(&server).ready().await),
        ["10.0.0.3:9003"]
    );
}

#[tokio::test]
async fn addresses_that_come_with_the_records_are_not_asked_for() {
    let records = vec![srv(SERVICE, 60, (1, 1, 9001), "a.test.")];
    let additionals = vec![
        a("a.test.", 60, [10, 0, 0, 1]),
        a("evil.test.", 60, [10, 0, 0, 9]),
    ];
    let server =
        NameServer::start(move |_, _| Reply::With(records.clone(), additionals.clone())).await;
    assert_eq!(
        addresses(&service(&server).ready().await),
        ["10.0.0.1:9001"]
    );
    assert_eq!(server.take_queries().len(), 1);
}

/// go-kit 892, GK-DN-2
#[tokio::test]
async fn records_without_a_port_are_skipped_and_an_answer_of_such_records_is_a_failure() {
    let address = a("a.test.", 60, [10, 0, 0, 1]);
    let invalid = srv(SERVICE, 60, (1, 1, 0), "a.test.");
    let valid = srv(SERVICE, 60, (1, 1, 80), "a.test.");
    let server = NameServer::start(of(vec![invalid.clone(), valid, address.clone()])).await;
    assert_eq!(addresses(&service(&server).ready().await), ["10.0.0.1:80"]);
    server.respond(of(vec![invalid, address]));
    let error = first_error(&service(&server)).await;
    assert!(
        error.ends_with("no record has a valid port and target"),
        "{error}"
    );
}

/// SD-09, SD-14
#[tokio::test]
async fn a_name_without_records_and_one_that_does_not_exist_are_empty_sets() {
    let server = NameServer::start(of(Vec::new())).await;
    assert!(service(&server).ready().await.instances.is_empty());
    server.respond(|_, _| Reply::Code(ResponseCode::NXDomain));
    assert!(service(&server).ready().await.instances.is_empty());
    assert!(host(&server).ready().await.instances.is_empty());
    server.respond(of(vec![srv(SERVICE, 60, (0, 0, 0), ".")]));
    assert!(service(&server).ready().await.instances.is_empty());
}

/// SD-14
#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let records = of((1..=200)
        .map(|last| a("addsvc.test.", 60, [10, 0, 0, last]))
        .collect());
    let server = NameServer::start(move |query, transport| match transport {
        Transport::Udp => Reply::Truncated,
        Transport::Tcp => records(query, transport),
    })
    .await;
    assert_eq!(host(&server).ready().await.instances.len(), 200);
}

/// SD-14
#[tokio::test]
async fn an_answer_that_is_truncated_over_tcp_too_is_a_failure() {
    let server = NameServer::start(|_, _| Reply::Truncated).await;
    first_error(&host(&server)).await;
}

/// SD-14
#[tokio::test]
async fn aliases_are_followed_within_an_answer_and_by_further_queries() {
    let records = vec![
        cname("addsvc.test.", 60, "b.test."),
        cname("b.test.", 60, "c.test."),
        a("c.test.", 60, [10, 0, 0, 1]),
    ];
    let server = NameServer::start(of(records.clone())).await;
    assert_eq!(addresses(&host(&server).ready().await), ["10.0.0.1:80"]);
    server.respond(move |query, _| match query.query_type() {
        RecordType::A => Reply::Records(records.clone()),
        _ => Reply::Records(records[..2].to_vec()),
    });
    assert_eq!(addresses(&host(&server).ready().await), ["10.0.0.1:80"]);
}

#[tokio::test]
async fn an_alias_of_a_service_is_followed() {
    let server = NameServer::start(of(vec![
        cname(SERVICE, 60, "other.test."),
        srv("other.test.", 60, (1, 1, 80), "a.test."),
        a("a.test.", 60, [10, 0, 0, 1]),
    ]))
    .await;
    assert_eq!(addresses(&service(&server).ready().await), ["10.0.0.1:80"]);
}

/// SD-14
#[tokio::test]
async fn a_circle_of_aliases_is_a_failure() {
    let circle = || {
        vec![
            cname("addsvc.test.", 60, "b.test."),
            cname("b.test.", 60, "addsvc.test."),
        ]
    };
    let server = NameServer::start(of(circle())).await;
    let error = first_error(&host(&server)).await;
    assert!(
        error.ends_with("more than 8 aliases, or a circle"),
        "{error}"
    );
    server.respond(move |_, _| Reply::Records(circle()));
    let error = first_error(&host(&server)).await;
    assert!(
        error.ends_with("more than 8 aliases, or a circle"),
        "{error}"
    );
}

/// SD-01, SD-14: the last set is kept, with at most two queries a second, and the next answer is found within two seconds.
#[tokio::test]
async fn every_failure_keeps_the_last_set_and_ends_within_two_seconds() {
    let records = || {
        vec![
            srv(SERVICE, 1, (1, 1, 80), "a.test."),
            a("a.test.", 1, [10, 0, 0, 1]),
        ]
    };
    type Fault = (&'static str, fn() -> Reply);
    let faults: [Fault; 5] = [
        ("SERVFAIL", || Reply::Code(ResponseCode::ServFail)),
        ("REFUSED", || Reply::Code(ResponseCode::Refused)),
        ("an unknown code", || {
            Reply::Code(ResponseCode::Unknown(3841))
        }),
        ("garbage", || Reply::Garbage),
        ("silence", || Reply::Silence),
    ];
    for (fault, reply) in faults {
        let server = NameServer::start(of(records())).await;
        let discovery = service(&server);
        assert_eq!(addresses(&discovery.ready().await), ["10.0.0.1:80"]);
        server.respond(move |_, _| reply());
        let snapshot = until(&discovery, is_stale).await;
        assert_eq!(addresses(&snapshot), ["10.0.0.1:80"], "{fault}");

        server.take_queries();
        let started = Instant::now();
        sleep(Duration::from_secs(4)).await;
        let (count, seconds) = (server.take_queries().len(), started.elapsed().as_secs_f64());
        assert!(count >= 2, "{fault}: {count} queries in {seconds} s");
        assert!(
            count as f64 <= 2.0 * seconds + 1.0,
            "{fault}: {count} queries in {seconds} s"
        );
        assert_eq!(addresses(&discovery.current()), ["10.0.0.1:80"], "{fault}");

        let mut moved = records();
        moved.push(a("a.test.", 1, [10, 0, 0, 2]));
        server.respond(of(moved));
        let healed = Instant::now();
        let snapshot = until(&discovery, is_current).await;
        println!(
            "{fault}: {:.1} queries/s, healed in {:?}",
            count as f64 / seconds,
            healed.elapsed()
        );
        assert_eq!(
            addresses(&snapshot),
            ["10.0.0.1:80", "10.0.0.2:80"],
            "{fault}"
        );
    }
}

/// SD-14
#[tokio::test]
async fn a_ttl_of_zero_is_one_second_and_a_long_one_is_cut() {
    let server = NameServer::start(of(vec![a("addsvc.test.", 0, [10, 0, 0, 1])])).await;
    let discovery = host(&server);
    discovery.ready().await;
    server.take_queries();
    sleep(Duration::from_millis(3500)).await;
    // Two queries at each refresh.
    let count = server.take_queries().len();
    assert!((4..=6).contains(&count), "{count} queries in 3.5 s");

    let server = NameServer::start(of(vec![a("addsvc.test.", 86_400, [10, 0, 0, 1])])).await;
    let dns = Dns::host("addsvc.test", 80).unwrap();
    let dns = dns.max_interval(Duration::from_secs(1)).unwrap();
    let discovery = spawn(&server, dns);
    discovery.ready().await;
    server.respond(of(vec![a("addsvc.test.", 86_400, [10, 0, 0, 2])]));
    until(&discovery, |snapshot| {
        addresses(snapshot) == ["10.0.0.2:80"]
    })
    .await;
}

#[tokio::test]
async fn the_last_addresses_of_a_target_stay_if_only_its_lookup_fails() {
    let records = of(vec![
        srv(SERVICE, 1, (1, 1, 80), "a.test."),
        srv(SERVICE, 1, (1, 1, 80), "b.test."),
        srv(SERVICE, 1, (1, 1, 80), "never.test."),
        a("a.test.", 1, [10, 0, 0, 1]),
        a("b.test.", 1, [10, 0, 0, 2]),
    ]);
    let moved = a("a.test.", 1, [10, 0, 0, 3]);
    let b_fails = Arc::new(AtomicBool::new(false));
    let fails = b_fails.clone();
    let server = NameServer::start(move |query, transport| {
        let fails = fails.load(SeqCst);
        if *query.name() == name("never.test.") || (fails && *query.name() == name("b.test.")) {
            return Reply::Code(ResponseCode::ServFail);
        }
        if fails && *query.name() == name("a.test.") && query.query_type() == RecordType::A {
            return Reply::Records(vec![moved.clone()]);
        }
        records(query, transport)
    })
    .await;
    let discovery = service(&server);
    assert_eq!(
        addresses(&discovery.ready().await),
        ["10.0.0.1:80", "10.0.0.2:80"]
    );
    b_fails.store(true, SeqCst);
    let snapshot = until(&discovery, |now| {
        !addresses(now).contains(&"10.0.0.1:80".into())
    })
    .await;
    assert_eq!(addresses(&snapshot), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(is_current(&snapshot));
}

#[tokio::test]
async fn a_name_server_that_is_silent_does_not_hide_the_next() {
    let silent = NameServer::start(|_, _| Reply::Silence).await;
    let server = NameServer::start(of(vec![a("addsvc.test.", 60, [10, 0, 0, 1])])).await;
    let resolver = DnsResolver::new([silent.address, server.address]).unwrap();
    let dns = Dns::host("addsvc.test", 80).unwrap().resolver(&resolver);
    let started = Instant::now();
    assert_eq!(
        addresses(&Discovery::spawn(dns).ready().await),
        ["10.0.0.1:80"]
    );
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn several_names_share_one_resolver() {
    let server = NameServer::start(of(vec![
        a("a.test.", 60, [10, 0, 0, 1]),
        a("b.test.", 60, [10, 0, 0, 2]),
    ]))
    .await;
    let resolver = DnsResolver::new([server.address]).unwrap();
    let host = |name| Discovery::spawn(Dns::host(name, 80).unwrap().resolver(&resolver));
    let (first, second) = (host("a.test"), host("b.test"));
    assert_eq!(addresses(&first.ready().await), ["10.0.0.1:80"]);
    assert_eq!(addresses(&second.ready().await), ["10.0.0.2:80"]);
}

/// SD-13
#[tokio::test]
async fn an_address_of_this_host_or_of_a_metadata_service_is_refused() {
    let server = NameServer::start(of(vec![
        a("addsvc.test.", 60, [169, 254, 169, 254]),
        a("addsvc.test.", 60, [127, 0, 0, 1]),
        a("addsvc.test.", 60, [10, 0, 0, 1]),
    ]))
    .await;
    let resolver = DnsResolver::new([server.address]).unwrap();
    let discovery = Discovery::spawn(Dns::host("addsvc.test", 80).unwrap().resolver(&resolver));
    assert_eq!(addresses(&discovery.ready().await), ["10.0.0.1:80"]);
}

#[tokio::test]
async fn no_task_and_no_query_is_left_when_the_discovery_is_gone() {
    let server = NameServer::start(of(vec![a("addsvc.test.", 0, [10, 0, 0, 1])])).await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let discovery = host(&server);
    discovery.ready().await;
    assert!(tasks() > before);
    drop(discovery);
    while tasks() > before {
        sleep(Duration::from_millis(10)).await;
    }
    server.take_queries();
    sleep(Duration::from_millis(1500)).await;
    assert!(server.take_queries().is_empty());
}
