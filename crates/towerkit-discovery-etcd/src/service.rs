use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::ConfigError;
use towerkit_discovery::{Instance, InstanceSender, LeaseStatus, Registry, RegistryError, Source};

use crate::{
    connection::Connection,
    registration::{self, EtcdLease},
    watch,
};

/// The time after which a registration that is not renewed is gone, by default.
const DEFAULT_TTL: Duration = Duration::from_secs(15);

/// One service of an etcd cluster: a source of its instances, and a registry for them.
///
/// Made by [`Etcd::service`](crate::Etcd::service).
#[derive(Clone)]
pub struct EtcdService {
    connection: Arc<Connection>,
    /// The prefix of its keys, with the slash.
    prefix: Arc<str>,
    ttl: Duration,
}

impl EtcdService {
    pub(crate) fn new(connection: Arc<Connection>, prefix: Arc<str>) -> Self {
        Self {
            connection,
            prefix,
            ttl: DEFAULT_TTL,
        }
    }

    /// Sets the time after which a registration that is not renewed is gone. Default: 15 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if `ttl` is not a number of whole seconds from 1 to 86,400.
    pub fn ttl(mut self, ttl: Duration) -> Result<Self, ConfigError> {
        if ttl.subsec_nanos() != 0 || !(1..=86_400).contains(&ttl.as_secs()) {
            let expected = "a number of whole seconds from 1 to 86400";
            return Err(ConfigError::new("ttl", ttl, expected));
        }
        self.ttl = ttl;
        Ok(self)
    }
}

impl Source for EtcdService {
    async fn run(self, sender: InstanceSender) {
        watch::run(&self.connection, &self.prefix, &sender).await;
    }
}

impl Registry for EtcdService {
    type Lease = EtcdLease;

    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn register(&self, instance: &Instance) -> Result<EtcdLease, RegistryError> {
        let key = format!("{}{}", self.prefix, instance.address);
        registration::register(&self.connection, key, instance, self.ttl).await
    }

    async fn renew(&self, lease: &mut EtcdLease) -> Result<LeaseStatus, RegistryError> {
        registration::renew(&self.connection, lease).await
    }

    async fn deregister(&self, lease: EtcdLease) -> Result<(), RegistryError> {
        registration::deregister(&self.connection, &lease).await
    }
}

impl fmt::Debug for EtcdService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdService")
            .field("prefix", &self.prefix)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
