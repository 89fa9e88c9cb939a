//! Tests against a real Consul.

use std::{net::SocketAddr, process::Command, time::Duration};

use towerkit_discovery::{
    RegistryClient,
    conformance::{Driver, ServerFiles, ServerProcess},
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
