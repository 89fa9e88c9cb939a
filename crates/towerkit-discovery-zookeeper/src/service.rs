use std::{fmt, sync::Arc, time::Duration};

use towerkit_discovery::{Instance, InstanceSender, LeaseStatus, Registry, RegistryError, Source};

use crate::{
    connection::Connection,
    registration::{self, ZooKeeperLease},
    watch,
};

/// One service of a ZooKeeper ensemble: a source of its instances, and a registry for them.
///
/// Made by [`ZooKeeper::service`](crate::ZooKeeper::service).
#[derive(Clone)]
pub struct ZooKeeperService {
    connection: Arc<Connection>,
    path: Arc<str>,
}

impl ZooKeeperService {
    pub(crate) fn new(connection: Arc<Connection>, path: Arc<str>) -> Self {
        Self { connection, path }
    }
}

impl Source for ZooKeeperService {
    async fn run(self, sender: InstanceSender) {
        watch::run(&self.connection, &self.path, &sender).await;
    }
}

impl Registry for ZooKeeperService {
    type Lease = ZooKeeperLease;

    /// Returns the session timeout of the client.
    fn ttl(&self) -> Duration {
        self.connection.session_timeout()
    }

    async fn register(&self, instance: &Instance) -> Result<ZooKeeperLease, RegistryError> {
        registration::register(&self.connection, &self.path, instance).await
    }

    async fn renew(&self, lease: &mut ZooKeeperLease) -> Result<LeaseStatus, RegistryError> {
        registration::renew(&self.connection, lease).await
    }

    async fn deregister(&self, lease: ZooKeeperLease) -> Result<(), RegistryError> {
        registration::deregister(&self.connection, &lease).await
    }
}

impl fmt::Debug for ZooKeeperService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperService")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
