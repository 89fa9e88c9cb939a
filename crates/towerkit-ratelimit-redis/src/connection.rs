use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, aio::MultiplexedConnection};

use crate::{
    cluster::{ClusterClient, ClusterConnection},
    errors::breaks_connection,
    store::StoreError,
};

/// The time that an attempt to connect may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A Redis server or, with the feature `cluster`, a Redis Cluster.
///
/// It is made of a [`Client`] or a [`ClusterClient`](redis::cluster::ClusterClient) of the [`redis`] crate, which has the address, the
/// credentials and, for TLS (feature `tls`), the certificates.
#[derive(Clone)]
pub struct Redis(Kind);

#[derive(Clone)]
enum Kind {
    Server(Arc<Client>),
    #[cfg_attr(
        not(feature = "cluster"),
        expect(dead_code, reason = "constructed only with the feature")
    )]
    Cluster(ClusterClient),
}

impl From<Client> for Redis {
    fn from(client: Client) -> Self {
        Self(Kind::Server(Arc::new(client)))
    }
}

#[cfg(feature = "cluster")]
impl From<redis::cluster::ClusterClient> for Redis {
    fn from(client: redis::cluster::ClusterClient) -> Self {
        Self(Kind::Cluster(ClusterClient::new(client)))
    }
}

/// Shows no address, because it may contain a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects.
    ///
    /// Every failure to connect makes the server unreachable: too many clients, a wrong password, a user without permission. A panic,
    /// as in a runtime without I/O, is caught, because many callers share the future.
    pub(crate) fn connect(&self) -> impl Future<Output = Result<Connection, StoreError>> + use<> {
        let kind = self.0.clone();
        let connected = async move {
            install_provider();
            kind.connect().await.map_err(|_| StoreError::Unreachable)
        };
        AssertUnwindSafe(connected)
            .catch_unwind()
            .map(|connected| connected.unwrap_or(Err(StoreError::Unreachable)))
    }
}

impl Kind {
    async fn connect(&self) -> Result<Connection, RedisError> {
        match self {
            Self::Server(client) => {
                // The limiter has a timeout of its own for each command.
                let config = AsyncConnectionConfig::new()
                    .set_response_timeout(None)
                    .set_connection_timeout(Some(CONNECT_TIMEOUT));
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Connection::Server)
            }
            Self::Cluster(client) => client.connect().await.map(Connection::Cluster),
        }
    }
}

/// Installs the [`ring`](rustls::crypto::ring) provider of rustls if the process has none.
///
/// Without an installed provider rustls panics in an application that has compiled in several.
#[cfg(feature = "tls")]
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // On an error another thread has installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(not(feature = "tls"))]
fn install_provider() {}

/// A connection that many callers use at the same time.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Returns true if a new connection is needed after this error. A cluster connection reconnects to its nodes itself.
    pub(crate) fn is_broken_by(&self, error: &RedisError) -> bool {
        matches!(self, Self::Server(_)) && breaks_connection(error)
    }

    pub(crate) async fn query(&mut self, command: &Cmd) -> Result<(u32, u64), RedisError> {
        match self {
            Self::Server(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => connection.query(command).await,
        }
    }
}
