//! Eureka, as its users see it.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;
use towerkit_discovery::{
    Discovery, DiscoverySnapshot, Instance, Registrar, RegistryClient,
    conformance::{Driver, Server},
};
use towerkit_discovery_eureka::{Eureka, EurekaService};

use crate::eureka_server::{EurekaServer, Options};

const INTERVAL: Duration = Duration::from_millis(500);

fn eureka(server: SocketAddr) -> Eureka {
    let client = RegistryClient::new([format!("http://{server}/eureka")]).unwrap();
    Eureka::new(client).interval(INTERVAL).unwrap()
}

#[derive(Clone)]
struct EurekaDriver;

impl Driver for EurekaDriver {
    type Client = Eureka;
    type Source = EurekaService;
    type Registry = EurekaService;

    async fn connect(&self, server: SocketAddr) -> Eureka {
        eureka(server)
    }

    fn source(&self, eureka: &Eureka, service: &str) -> EurekaService {
        eureka.service(service)
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn registry(&self, eureka: &Eureka, service: &str, ttl: Duration) -> EurekaService {
        eureka.clone().ttl(ttl).unwrap().service(service)
    }
}

mod conformance {
    use super::EurekaDriver;
    use crate::eureka_server::EurekaServer;

    towerkit_discovery::registry_conformance! {
        driver: EurekaDriver,
        server: EurekaServer::start(),
    }
}

fn listed(id: &str, status: &str) -> Value {
    json!({
        "instanceId": id,
        "hostName": id,
        "ipAddr": "10.0.0.7",
        "port": {"$": 80, "@enabled": "true"},
        "status": status,
        "vipAddress": "add",
    })
}

async fn wait_for(discovery: &Discovery, is_met: impl Fn(&DiscoverySnapshot) -> bool) {
    let mut discovery = discovery.clone();
    let wait = async {
        while !is_met(&discovery.current()) {
            discovery.changed().await;
        }
    };
    let met = timeout(Duration::from_secs(20), wait).await;
    assert!(met.is_ok(), "{:?}", discovery.current());
}

async fn has(discovery: &Discovery, count: usize) {
    wait_for(discovery, |snapshot| {
        snapshot.status.as_str() == "current" && snapshot.instances.len() == count
    })
    .await;
}

fn instance(port: u16) -> Instance {
    Instance::new(format!("10.0.0.7:{port}").parse().unwrap())
}

/// SD-19
#[tokio::test]
async fn a_change_that_is_not_in_the_delta_is_found_by_the_hash() {
    let server = EurekaServer::start().await;
    let eureka = eureka(server.address());
    let discovery = Discovery::spawn(eureka.service("a"));
    let registration = Registrar::new(eureka.service("a"), instance(81)).spawn();
    has(&discovery, 1).await;
    server.registry().take_log();
    server
        .registry()
        .insert_silently("A", listed("silent", "UP"));
    has(&discovery, 2).await;
    let log = server.registry().take_log();
    let last: Vec<_> = log
        .iter()
        .filter(|line| line.starts_with("GET"))
        .rev()
        .take(2)
        .collect();
    assert_eq!(last, ["GET /eureka/apps", "GET /eureka/apps/delta"]);
    registration.stop(Duration::from_secs(5)).await;
    has(&discovery, 1).await;
    let log = server.registry().take_log();
    assert!(!log.contains(&"GET /eureka/apps".to_owned()), "{log:?}");
}

/// SD-19
#[tokio::test]
async fn an_instance_that_is_not_up_gets_no_calls() {
    let server = EurekaServer::start().await;
    let eureka = eureka(server.address());
    server
        .registry()
        .insert_silently("A", listed("down", "DOWN"));
    let (by_app, by_vip) = (
        Discovery::spawn(eureka.service("a")),
        Discovery::spawn(eureka.vip("ADD")),
    );
    has(&by_app, 0).await;
    for (status, count) in [("UP", 1), ("OUT_OF_SERVICE", 0), ("UP", 1), ("STARTING", 0)] {
        server.registry().override_status("A", "down", status);
        has(&by_app, count).await;
        has(&by_vip, count).await;
    }
}

/// SD-19
#[tokio::test]
async fn a_heartbeat_that_is_not_known_registers_again() {
    let mut server = EurekaServer::start().await;
    let eureka = eureka(server.address())
        .ttl(Duration::from_secs(3))
        .unwrap();
    let discovery = Discovery::spawn(eureka.service("a"));
    let registration = Registrar::new(eureka.service("a"), instance(81)).spawn();
    has(&discovery, 1).await;
    for _ in 0..3 {
        server.registry().take_log();
        server.wipe();
        let post = "POST /eureka/apps/A".to_owned();
        let is_registered = async {
            while !server.registry().take_log().contains(&post) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(
            timeout(Duration::from_secs(20), is_registered)
                .await
                .is_ok()
        );
        has(&discovery, 1).await;
    }
    registration.stop(Duration::from_secs(5)).await;
    let log = server.registry().take_log();
    assert!(
        log.iter()
            .any(|line| line == "DELETE /eureka/apps/A/10.0.0.7%3Aa%3A81"),
        "{log:?}"
    );
}

#[tokio::test]
async fn servers_without_deltas_and_lists_of_one_are_understood() {
    let server = EurekaServer::start().await;
    let options = Options {
        has_delta: false,
        unwraps_lists: true,
        ..Options::default()
    };
    server.registry().set_options(options);
    let eureka = eureka(server.address());
    let discovery = Discovery::spawn(eureka.service("a"));
    let first = Registrar::new(eureka.service("a"), instance(81)).spawn();
    has(&discovery, 1).await;
    let second = Registrar::new(eureka.service("a"), instance(82)).spawn();
    has(&discovery, 2).await;
    first.stop(Duration::from_secs(5)).await;
    has(&discovery, 1).await;
    second.stop(Duration::from_secs(5)).await;
    has(&discovery, 0).await;
}

#[tokio::test]
async fn several_services_share_the_fetches_and_another_goes_on_when_the_first_ends() {
    let server = EurekaServer::start().await;
    let eureka = eureka(server.address());
    let registration = Registrar::new(eureka.service("a"), instance(81)).spawn();
    registration.registered().await;
    let mut discoveries: Vec<_> = (0..20)
        .map(|_| Discovery::spawn(eureka.service("a")))
        .collect();
    for discovery in &discoveries {
        has(discovery, 1).await;
    }
    server.registry().take_log();
    let start = std::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let fetches = server.registry().take_log().len() as f64;
    let most = 2.3 * start.elapsed().as_secs_f64() + 2.0;
    assert!(fetches <= most, "{fetches} of {most}");
    let last = discoveries.pop().unwrap();
    drop(discoveries);
    registration.stop(Duration::from_secs(5)).await;
    has(&last, 0).await;
}

#[tokio::test]
async fn the_secure_port_is_another_instance() {
    let server = EurekaServer::start().await;
    let eureka = eureka(server.address());
    let registration = Registrar::new(eureka.service("a").secure(), instance(8443)).spawn();
    registration.registered().await;
    let (secure, plain) = (
        Discovery::spawn(eureka.service("a").secure()),
        Discovery::spawn(eureka.service("a")),
    );
    has(&secure, 1).await;
    has(&plain, 0).await;
    assert_eq!(secure.current().instances[0].address.port(), 8443);
}
