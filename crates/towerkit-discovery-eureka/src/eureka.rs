use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::ConfigError;
use towerkit_discovery::RegistryClient;

use crate::cache::Cache;

/// The TTL of registrations, by default.
const DEFAULT_TTL: Duration = Duration::from_secs(30);
/// The time between two fetches, by default.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// A Eureka server, or several for failover. A clone shares the client and the instances that were fetched.
#[derive(Clone)]
pub struct Eureka {
    pub(crate) client: RegistryClient,
    pub(crate) cache: Arc<Cache>,
    interval: Duration,
    pub(crate) ttl: Duration,
}

impl Eureka {
    /// Makes a Eureka of a client, which has the URLs of the servers and the settings of TLS and credentials.
    ///
    /// The URLs are those under which `apps` is, such as `http://10.0.0.1:8761/eureka`.
    #[must_use]
    pub fn new(client: RegistryClient) -> Self {
        Self {
            cache: Arc::new(Cache::new(client.clone(), DEFAULT_INTERVAL)),
            client,
            interval: DEFAULT_INTERVAL,
            ttl: DEFAULT_TTL,
        }
    }

    /// Sets the time between two fetches of the changes. Default: 5 seconds. Netflix' client has 30.
    ///
    /// # Errors
    ///
    /// Returns an error if `interval` is less than half a second or more than a day.
    pub fn interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_millis(500)..=Duration::from_secs(24 * 3600);
        self.interval = ConfigError::check_range("interval", interval, range)?;
        self.cache = Arc::new(Cache::new(self.client.clone(), interval));
        Ok(self)
    }

    /// Sets the time after which an instance that is not renewed is evicted. Default: 30 seconds.
    ///
    /// It is rounded up to seconds. Servers look for such instances once a minute, by default, and evict few of them while many are
    /// missing (self-preservation), so that an instance which was killed may be listed for longer.
    ///
    /// # Errors
    ///
    /// Returns an error if `ttl` is less than a second or more than a day.
    pub fn ttl(mut self, ttl: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        self.ttl = ConfigError::check_range("ttl", ttl, range)?;
        Ok(self)
    }
}

impl fmt::Debug for Eureka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eureka")
            .field("client", &self.client)
            .field("interval", &self.interval)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
