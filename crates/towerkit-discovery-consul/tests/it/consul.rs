//! Tests against a real Consul.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use towerkit_core::Event;
use towerkit_discovery::{
    Discovery, DiscoveryOptions, DiscoverySnapshot, Instance, Registrar, RegistryClient,
    conformance::{Driver, Server, ServerFiles, ServerProcess},
};
use towerkit_discovery_consul::{Consul, ConsulService};

/// Runs a server that keeps its data.
fn command(files: &ServerFiles) -> Command {
    let [http, rpc, lan, ..] = files.ports;
    let mut consul = Command::new("consul");
    consul
        .args(["agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1"])
        .args([
            "-client=127.0.0.1",
            "-disable-host-node-id",
            "-log-level=warn",
        ])
        .args(["-dns-port=-1", "-grpc-port=-1", "-serf-wan-port=-1"])
        .arg("-hcl=performance { raft_multiplier = 1 } disable_update_check = true")
        .arg(format!("-data-dir={}", files.data.display()))
        .arg(format!("-http-port={http}"))
        .arg(format!("-server-port={rpc}"))
        .arg(format!("-serf-lan-port={lan}"));
    consul
}

/// Answers when there is a leader.
const PROBE: (&str, &str) = ("GET /v1/status/leader HTTP/1.0\r\n\r\n", "127.0.0.1:");

fn start() -> impl Future<Output = ServerProcess> {
    ServerProcess::start(PROBE, command)
}

#[derive(Clone)]
struct ConsulDriver;

impl Driver for ConsulDriver {
    type Client = Consul;
    type Source = ConsulService;
    type Registry = ConsulService;

    async fn connect(&self, server: SocketAddr) -> Consul {
        Consul::new(RegistryClient::new([format!("http://{server}")]).unwrap())
    }

    fn source(&self, consul: &Consul, service: &str) -> ConsulService {
        consul.service(service)
    }

    fn registry(&self, consul: &Consul, service: &str, ttl: Duration) -> ConsulService {
        consul.clone().ttl(ttl).unwrap().service(service)
    }
}

mod conformance {
    use super::{ConsulDriver, start};

    towerkit_discovery::registry_conformance! {
        #[ignore = "needs consul"]
        driver: ConsulDriver,
        server: start(),
    }
}

async fn wait_for(discovery: &Discovery, is_met: impl Fn(&DiscoverySnapshot) -> bool) {
    let mut discovery = discovery.clone();
    let wait = async {
        while !is_met(&discovery.current()) {
            discovery.changed().await;
        }
    };
    let met = timeout(Duration::from_secs(30), wait).await;
    assert!(met.is_ok(), "{:?}", discovery.current());
}

/// GK-CO-2, GK-CO-3
#[tokio::test]
#[ignore = "needs consul"]
async fn tags_of_consul_select_instances() {
    let server = start().await;
    let consul = ConsulDriver.connect(server.address()).await;
    let instance = |port: u16, tags: &[&str]| {
        let instance = Instance::new(format!("10.0.0.7:{port}").parse().unwrap());
        tags.iter()
            .fold(instance, |instance, tag| instance.tag(*tag, ""))
    };
    let search = consul.service("search");
    let _registrations = [
        Registrar::new(search.clone(), instance(1, &["api"])).spawn(),
        Registrar::new(search.clone(), instance(2, &["api", "v2"])).spawn(),
    ];
    for (service, count) in [
        (search.clone(), 2),
        (search.clone().with_tag("api"), 2),
        (search.clone().with_tag("api").with_tag("v2"), 1),
        (search.with_tag("v3"), 0),
        (consul.service("unknown"), 0),
    ] {
        let discovery = Discovery::spawn(service);
        wait_for(&discovery, |snapshot| {
            snapshot.status.as_str() == "current" && snapshot.instances.len() == count
        })
        .await;
    }
}

/// SD-16
#[tokio::test]
#[ignore = "needs consul"]
async fn a_token_is_needed_where_there_are_rules_and_is_never_shown() {
    const TOKEN: &str = "d0000000-0000-4000-8000-00000000cafe";
    let server = ServerProcess::start(PROBE, |files| {
        let mut consul = command(files);
        let tokens = format!("tokens {{ master = \"{TOKEN}\" agent = \"{TOKEN}\" }}");
        consul.arg(format!(
            "-hcl=acl {{ enabled = true default_policy = \"deny\" {tokens} }}"
        ));
        consul
    })
    .await;
    let shown = Arc::new(Mutex::new(String::new()));
    let record = shown.clone();
    let events = move |event: &Event| *record.lock().unwrap() += &format!("{event:?}\n");
    let instance = Instance::new("10.0.0.7:80".parse().unwrap());
    let consul = ConsulDriver.connect(server.address()).await;
    let wrong = TOKEN.replace('c', "d");
    for (token, is_known) in [(&*wrong, false), (TOKEN, true)] {
        let consul = consul.clone().token(token).unwrap();
        let service = consul.service("a");
        *shown.lock().unwrap() += &format!("{consul:?} {service:?}\n");
        let registration = Registrar::new(service.clone(), instance.clone())
            .events(events.clone())
            .spawn();
        let discovery = DiscoveryOptions::new()
            .events(events.clone())
            .spawn(service);
        let (expected, status) = if is_known {
            ("current", "registered")
        } else {
            ("stale", "failing")
        };
        wait_for(&discovery, |snapshot| {
            let is_right = snapshot.status.as_str() == expected
                && snapshot.instances.len() == usize::from(is_known);
            // Without the right token some versions answer with an empty list.
            is_right || (!is_known && snapshot.status.as_str() == "current")
        })
        .await;
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while registration.status().as_str() != status {
            assert!(std::time::Instant::now() < deadline, "{registration:?}");
            sleep(Duration::from_millis(10)).await;
        }
        *shown.lock().unwrap() += &format!("{registration:?} {discovery:?}\n");
        registration.stop(Duration::from_secs(5)).await;
    }
    let shown = shown.lock().unwrap();
    assert!(shown.contains("403"), "{shown}");
    assert!(!shown.contains(TOKEN) && !shown.contains(&wrong), "{shown}");
}
