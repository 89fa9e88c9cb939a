use std::{net::SocketAddr, time::Duration};

use tokio::time::Instant;
use towerkit_discovery::{Discovery, DiscoveryOptions};
use towerkit_discovery_dns::{Dns, DnsResolver};
use towerkit_programs::{Program, free_port};

use crate::wait::{addresses, until};

/// A `dnsmasq` of the test, on a free port, with two instances of a service.
struct Dnsmasq {
    address: SocketAddr,
    program: Program,
}

impl Dnsmasq {
    fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut program = Program::new("dnsmasq");
        let hosts = program.file("hosts", "10.0.0.1 a.test\n10.0.0.2 b.test\n");
        program.start([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            &format!("--port={}", address.port()),
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--no-resolv",
            "--no-hosts",
            "--pid-file=",
            "--user=",
            "--local-ttl=1",
            "--local=/test/",
            &format!("--addn-hosts={hosts}"),
            "--srv-host=_addsvc._tcp.test,a.test,9001,10,60",
            "--srv-host=_addsvc._tcp.test,b.test,9002,10,40",
            "--srv-host=_addsvc._tcp.test,b.test,9003,20,40",
            "--cname=alias.test,a.test",
        ]);
        Self { address, program }
    }

    fn spawn(&self, dns: Dns) -> Discovery {
        let resolver = DnsResolver::new([self.address]).unwrap();
        DiscoveryOptions::new().spawn(dns.resolver(&resolver))
    }
}

/// SD-14
#[tokio::test]
#[ignore = "needs dnsmasq"]
async fn services_hosts_and_aliases_are_found_by_dnsmasq() {
    let server = Dnsmasq::start();
    let service = server.spawn(Dns::srv("_addsvc._tcp.test").unwrap());
    assert_eq!(
        addresses(&service.ready().await),
        ["10.0.0.1:9001", "10.0.0.2:9002"]
    );
    assert_eq!(service.current().instances[0].weight, 60);
    let alias = server.spawn(Dns::host("alias.test", 80).unwrap());
    assert_eq!(addresses(&alias.ready().await), ["10.0.0.1:80"]);
    let gone = server.spawn(Dns::srv("_gone._tcp.test").unwrap());
    assert!(gone.ready().await.instances.is_empty());
}

/// SD-01, SD-14
#[tokio::test]
#[ignore = "needs dnsmasq"]
async fn the_last_set_outlives_a_kill_and_a_stop_of_dnsmasq_and_changes_are_found_within_two_seconds()
 {
    let mut server = Dnsmasq::start();
    let discovery = server.spawn(Dns::host("a.test", 80).unwrap());
    assert_eq!(addresses(&discovery.ready().await), ["10.0.0.1:80"]);

    server.program.kill();
    let snapshot = until(&discovery, |now| now.status.error().is_some()).await;
    assert_eq!(addresses(&snapshot), ["10.0.0.1:80"]);
    server.program.file("hosts", "10.0.0.7 a.test\n");
    server.program.restart();
    let restarted = Instant::now();
    until(&discovery, |now| addresses(now) == ["10.0.0.7:80"]).await;
    println!("found {:?} after the restart", restarted.elapsed());

    server.program.signal("STOP");
    let snapshot = until(&discovery, |now| now.status.error().is_some()).await;
    assert_eq!(addresses(&snapshot), ["10.0.0.7:80"]);
    server.program.signal("CONT");
    let continued = Instant::now();
    until(&discovery, |now| now.status.error().is_none()).await;
    println!("found {:?} after it went on", continued.elapsed());
    assert!(continued.elapsed() < Duration::from_secs(2));
}
