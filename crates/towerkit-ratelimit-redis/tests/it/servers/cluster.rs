//! Redis Cluster with three nodes.

use std::time::{Duration, Instant};

use towerkit_core::RejectionReason;
use towerkit_programs::free_port;
use towerkit_ratelimit_redis::{
    RedisRateLimitLayer,
    redis::{Connection, cluster::ClusterClient, cmd},
};

use super::{
    call, quota, request_key,
    server::{Server, until},
    service,
};

struct Cluster(Vec<Server>);

impl Cluster {
    const SLOTS: u16 = 16_384;

    /// Starts a cluster, in which each node has a part of the hash slots.
    fn start(nodes: u16) -> Self {
        let buses: Vec<u16> = (0..nodes).map(|_| free_port()).collect();
        let servers: Vec<Server> = buses.iter().map(|bus| Self::node(*bus)).collect();
        for (index, server) in (0..).zip(&servers) {
            let mut connection = server.connection();
            let part = |index: u16| Self::SLOTS / nodes * index;
            let last = if index + 1 == nodes {
                Self::SLOTS
            } else {
                part(index + 1)
            } - 1;
            let mut slots = cmd("CLUSTER");
            slots.arg("ADDSLOTSRANGE").arg(part(index)).arg(last);
            slots.query::<()>(&mut connection).unwrap();
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET")
                .arg("127.0.0.1")
                .arg(servers[0].port)
                .arg(buses[0]);
            meet.query::<()>(&mut connection).unwrap();
        }
        let cluster = Self(servers);
        for mut connection in cluster.connections() {
            until("the cluster is ok", || {
                let info: String = cmd("CLUSTER").arg("INFO").query(&mut connection).unwrap();
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{nodes}"))
            });
        }
        cluster
    }

    fn node(bus: u16) -> Server {
        Server::with(|_| {
            let arguments = [
                ("--cluster-enabled", "yes"),
                ("--cluster-port", &bus.to_string()),
                ("--cluster-node-timeout", "1000"),
                ("--cluster-require-full-coverage", "no"),
            ];
            let pairs = arguments.into_iter();
            pairs
                .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
                .collect()
        })
    }

    fn connections(&self) -> impl Iterator<Item = Connection> {
        self.0.iter().map(Server::connection)
    }

    fn client(&self) -> ClusterClient {
        let addresses = self
            .0
            .iter()
            .map(|node| format!("redis://127.0.0.1:{}", node.port));
        ClusterClient::new(addresses).unwrap()
    }
}

/// RL-01
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn processes_share_the_quota_of_each_key_on_a_cluster() {
    let cluster = Cluster::start(3);
    let layers = [0; 2].map(|_| {
        let layer = RedisRateLimitLayer::new(cluster.client(), quota(1, 10)).unwrap();
        layer
            .key(request_key)
            .timeout(Duration::from_secs(1))
            .unwrap()
            .fail_closed()
    });
    let services = layers.map(|layer| service(&layer));
    let begun = Instant::now();
    let mut admitted = 0;
    for key in 0..30 {
        for _ in 0..8 {
            for service in &services {
                admitted += u64::from(call(service, &key.to_string()).await.is_ok());
            }
        }
    }
    let flowed = 30 * begun.elapsed().as_secs();
    assert!((300..=300 + flowed).contains(&admitted), "{admitted}");
    for mut connection in cluster.connections() {
        let keys: u64 = cmd("DBSIZE").query(&mut connection).unwrap();
        assert!(keys > 0, "each node has some of the keys");
    }
}

/// A node that dies makes its own keys unavailable, and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_dead_node_affects_only_its_own_keys() {
    let mut cluster = Cluster::start(3);
    let layer = RedisRateLimitLayer::new(cluster.client(), quota(1000, 10)).unwrap();
    let layer = layer
        .key(request_key)
        .timeout(Duration::from_millis(200))
        .unwrap()
        .fail_closed();
    let service = service(&layer);
    for key in 0..30 {
        call(&service, &key.to_string()).await.unwrap();
    }
    cluster.0[0].kill();
    let (begun, mut rejected) = (Instant::now(), 0);
    // Two thirds of the keys are available, and all of them once the node is back.
    let mut most = 0;
    while most < 15 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "at most {most} of 30 keys"
        );
        most = 0;
        for key in 0..30 {
            match call(&service, &key.to_string()).await {
                Ok(()) => most += 1,
                Err(rejection) => {
                    assert_eq!(rejection.reason(), RejectionReason::Unavailable);
                    rejected += 1;
                }
            }
        }
    }
    assert!(rejected > 0);
    cluster.0[0].restart();
    let begun = Instant::now();
    while most < 30 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "at most {most} of 30 keys"
        );
        most = 0;
        for key in 0..30 {
            most += u32::from(call(&service, &key.to_string()).await.is_ok());
        }
    }
}
