//! Tests against etcd, each with a server of its own.

#[cfg(feature = "tls")]
mod credentials;
mod faults;
mod server;
mod values;

use std::{net::SocketAddr, time::Duration};

use towerkit_discovery::conformance::Driver;
use towerkit_discovery_etcd::{Etcd, EtcdService};

/// etcd, as the suite of all registries uses it.
#[derive(Clone)]
struct EtcdDriver;

impl Driver for EtcdDriver {
    type Client = Etcd;
    type Source = EtcdService;
    type Registry = EtcdService;

    async fn connect(&self, server: SocketAddr) -> Etcd {
        Etcd::new([format!("http://{server}")]).unwrap()
    }

    fn source(&self, client: &Etcd, service: &str) -> EtcdService {
        client.service(service).unwrap()
    }

    fn registry(&self, client: &Etcd, service: &str, ttl: Duration) -> EtcdService {
        client.service(service).unwrap().ttl(ttl).unwrap()
    }
}

mod conformance {
    mod etcd_3_4 {
        towerkit_discovery::registry_conformance! {
            #[ignore = "needs etcd"]
            driver: crate::EtcdDriver,
            server: crate::server::start("etcd"),
        }
    }

    mod etcd_3_5 {
        towerkit_discovery::registry_conformance! {
            #[ignore = "needs etcd-3.5"]
            driver: crate::EtcdDriver,
            server: crate::server::start("etcd-3.5"),
        }
    }
}
