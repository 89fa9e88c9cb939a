//! Tests against ZooKeeper, each with a server of its own.

mod behaviour;
mod server;

use std::{net::SocketAddr, time::Duration};

use towerkit_discovery::conformance::Driver;
use towerkit_discovery_zookeeper::{ZooKeeper, ZooKeeperService};

/// ZooKeeper, as the suite of all registries uses it.
#[derive(Clone)]
struct ZooKeeperDriver;

impl Driver for ZooKeeperDriver {
    type Client = ZooKeeper;
    type Source = ZooKeeperService;
    type Registry = ZooKeeperService;

    async fn connect(&self, server: SocketAddr) -> ZooKeeper {
        server::client(server).session_timeout(self.ttl()).unwrap()
    }

    fn source(&self, client: &ZooKeeper, service: &str) -> ZooKeeperService {
        client.service(service).unwrap()
    }

    /// The TTL is that of the session.
    fn registry(&self, client: &ZooKeeper, service: &str, _: Duration) -> ZooKeeperService {
        client.service(service).unwrap()
    }
}

mod conformance {
    towerkit_discovery::registry_conformance! {
        #[ignore = "needs zookeeper"]
        driver: crate::ZooKeeperDriver,
        server: crate::server::start(),
    }
}
