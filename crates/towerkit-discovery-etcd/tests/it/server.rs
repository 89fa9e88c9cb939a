use std::{process::Command, time::Duration};

use etcd_client::Client;
use tokio::time::timeout;
use towerkit_discovery::{
    Discovery, DiscoverySnapshot, Instance,
    conformance::{Server, ServerFiles, ServerProcess},
};
use towerkit_discovery_etcd::Etcd;

/// The request that says if etcd is ready, and what it answers then.
pub(crate) const HEALTH: (&str, &str) = ("GET /health HTTP/1.0\r\n\r\n", "true");

/// Starts an etcd, and waits until it is ready.
pub(crate) async fn start(program: &'static str) -> ServerProcess {
    ServerProcess::start(HEALTH, move |files| {
        let client = format!("http://127.0.0.1:{}", files.ports[0]);
        command(program, files, &client)
    })
    .await
}

/// Returns the command of a cluster with one member, whose clients use this URL.
pub(crate) fn command(program: &str, files: &ServerFiles, client: &str) -> Command {
    let peer = format!("http://127.0.0.1:{}", files.ports[1]);
    let mut command = towerkit_programs::command(program);
    command
        .env_clear()
        .args(["--name", "test", "--unsafe-no-fsync"]);
    command.arg("--data-dir").arg(&files.data);
    command.args([
        "--listen-client-urls",
        client,
        "--advertise-client-urls",
        client,
    ]);
    command.args([
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
    ]);
    command.args(["--initial-cluster", &format!("test={peer}")]);
    command
}

pub(crate) fn etcd(server: &impl Server) -> Etcd {
    Etcd::new([format!("http://{}", server.address())]).unwrap()
}

/// Returns a client of the test, which does as other programs do.
pub(crate) async fn raw(server: &impl Server) -> Client {
    Client::connect([format!("http://{}", server.address())], None)
        .await
        .unwrap()
}

/// Waits until a snapshot is as expected, at most 20 seconds.
pub(crate) async fn until(
    discovery: &Discovery,
    mut is_expected: impl FnMut(&DiscoverySnapshot) -> bool,
) -> DiscoverySnapshot {
    let mut discovery = discovery.clone();
    let wait = async {
        loop {
            let snapshot = discovery.current();
            if is_expected(&snapshot) {
                return snapshot;
            }
            discovery.changed().await;
        }
    };
    match timeout(Duration::from_secs(20), wait).await {
        Ok(snapshot) => snapshot,
        Err(_) => panic!("{:?}", discovery.current()),
    }
}

pub(crate) async fn until_addresses(discovery: &Discovery, expected: &[&str]) -> DiscoverySnapshot {
    until(discovery, |snapshot| addresses(snapshot) == expected).await
}

/// Returns the addresses as text, in their order.
pub(crate) fn addresses(snapshot: &DiscoverySnapshot) -> Vec<String> {
    let instances = snapshot.instances.iter();
    instances
        .map(|instance| instance.address.to_string())
        .collect()
}

pub(crate) fn instance(address: &str) -> Instance {
    Instance::new(address.parse().unwrap())
}
