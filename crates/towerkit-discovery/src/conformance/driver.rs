use std::{future::Future, net::SocketAddr, time::Duration};

use crate::{Registry, Source};

/// A registry and its client, as the suite uses them.
pub trait Driver: Clone + Send + Sync + 'static {
    /// The client that the services of a process share.
    type Client: Clone + Send + Sync + 'static;
    /// The source of the instances of a service.
    type Source: Source;
    /// The registry of a service.
    type Registry: Registry;

    /// Makes a client of the server at this address. It connects now, or when it is used.
    fn connect(&self, server: SocketAddr) -> impl Future<Output = Self::Client> + Send;

    /// Makes the source of a service.
    fn source(&self, client: &Self::Client, service: &str) -> Self::Source;

    /// Makes the registry of a service, with registrations that last for `ttl`.
    fn registry(&self, client: &Self::Client, service: &str, ttl: Duration) -> Self::Registry;

    /// Returns the metadata that the registry keeps. Default: all of it.
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    /// Returns the time between two looks of a source that polls. Default: zero, for one that is told of changes.
    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns the TTL of the registrations. Default: 4 seconds.
    fn ttl(&self) -> Duration {
        Duration::from_secs(4)
    }
}

/// The metadata of an instance that a registry keeps.
#[derive(Debug, Clone, Copy)]
pub struct Metadata {
    /// Weights.
    pub weight: bool,
    /// Zones.
    pub zone: bool,
    /// Versions.
    pub version: bool,
    /// Tags.
    pub tags: bool,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            weight: true,
            zone: true,
            version: true,
            tags: true,
        }
    }
}
