use std::{fs, net::SocketAddr, time::Duration};

use tokio::time::timeout;
use towerkit_discovery::{
    Discovery, DiscoverySnapshot, Instance,
    conformance::{Server, ServerProcess},
};
use towerkit_discovery_zookeeper::ZooKeeper;
use zookeeper_client::Client;

/// Starts a ZooKeeper, and waits until it serves.
pub(crate) async fn start() -> ServerProcess {
    // `ruok` is answered before requests are.
    ServerProcess::start(("srvr", "Mode: standalone"), |files| {
        let config = files.data.with_extension("cfg");
        let text = format!(
            "tickTime=200\nminSessionTimeout=400\nmaxSessionTimeout=60000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\nforceSync=no\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n",
            files.data.display(),
            files.ports[0],
        );
        fs::write(&config, text).unwrap();
        let mut command = towerkit_programs::command("zookeeper");
        command.arg(config);
        command
    })
    .await
}

pub(crate) fn client(server: SocketAddr) -> ZooKeeper {
    ZooKeeper::new([server.to_string()]).unwrap()
}

pub(crate) fn zookeeper(server: &impl Server) -> ZooKeeper {
    client(server.address())
}

/// Returns a client of the test, which does as other programs do.
pub(crate) async fn raw(server: &impl Server) -> Client {
    Client::connect(&server.address().to_string())
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
