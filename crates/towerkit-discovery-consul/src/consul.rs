use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::ConfigError;
use towerkit_discovery::RegistryClient;

/// The TTL of registrations, by default.
const DEFAULT_TTL: Duration = Duration::from_secs(15);
/// The least that Consul accepts, and the default.
const MIN_DEREGISTER_AFTER: Duration = Duration::from_secs(60);
/// The time that a query waits for a change, by default.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// The most that Consul accepts.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// A Consul agent, or several for failover. A clone shares the client.
#[derive(Clone)]
pub struct Consul {
    pub(crate) client: RegistryClient,
    pub(crate) datacenter: Option<Arc<str>>,
    pub(crate) wait: Duration,
    pub(crate) ttl: Duration,
    pub(crate) deregister_after: Duration,
}

impl Consul {
    /// Makes a Consul of a client, which has the URLs of the agents and the settings of TLS.
    #[must_use]
    pub fn new(client: RegistryClient) -> Self {
        Self {
            client,
            datacenter: None,
            wait: DEFAULT_WAIT,
            ttl: DEFAULT_TTL,
            deregister_after: MIN_DEREGISTER_AFTER,
        }
    }

    /// Sets the token ([ACL](https://developer.hashicorp.com/consul/docs/security/acl)), which is sent as `X-Consul-Token`.
    ///
    /// # Errors
    ///
    /// Returns an error, without the token, if it is not visible ASCII.
    pub fn token(mut self, token: &str) -> Result<Self, ConfigError> {
        self.client = self.client.secret_header("x-consul-token", token)?;
        Ok(self)
    }

    /// Sets the datacenter in which instances are discovered. Default: that of the agent. Registrations are always made at the agent.
    #[must_use]
    pub fn datacenter(mut self, name: impl Into<Arc<str>>) -> Self {
        self.datacenter = Some(name.into());
        self
    }

    /// Sets the time that a query waits for a change. Default: 30 seconds.
    ///
    /// A query that waits costs the agent little. After this time a query is noticed that lost its connection without a sign.
    ///
    /// # Errors
    ///
    /// Returns an error if `wait` is less than a second or more than 10 minutes, which is the maximum of Consul.
    pub fn wait(mut self, wait: Duration) -> Result<Self, ConfigError> {
        self.wait = ConfigError::check_range("wait", wait, Duration::from_secs(1)..=MAX_WAIT)?;
        Ok(self)
    }

    /// Sets the time after which an instance that is not renewed counts as dead. Default: 15 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if `ttl` is less than a second or more than a day.
    pub fn ttl(mut self, ttl: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        self.ttl = ConfigError::check_range("ttl", ttl, range)?;
        Ok(self)
    }

    /// Sets the time after which Consul removes a dead instance. Default: one minute, which is the minimum of Consul.
    ///
    /// # Errors
    ///
    /// Returns an error if `time` is less than a minute or more than 365 days.
    pub fn deregister_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        let range = MIN_DEREGISTER_AFTER..=Duration::from_secs(365 * 24 * 3600);
        self.deregister_after = ConfigError::check_range("deregister_after", time, range)?;
        Ok(self)
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul")
            .field("client", &self.client)
            .field("datacenter", &self.datacenter)
            .field("wait", &self.wait)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
