use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, aio::MultiplexedConnection};

use crate::{
    cluster::{ClusterClient, ClusterConnection},
    errors::is_lasting,
    redis_store::CONNECT,
    store::Failure,
};

/// A Redis server, or a Redis Cluster with the feature `cluster`.
///
/// Made of a client of the [`redis`] crate, which knows the address, the credentials, and the certificates of a server that speaks
/// TLS (feature `tls`).
#[derive(Clone)]
pub struct Redis(Kind);

#[derive(Clone)]
enum Kind {
    Server(Arc<Client>),
    #[cfg_attr(
        not(feature = "cluster"),
        expect(dead_code, reason = "there is none without the feature")
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

/// Names no address, which may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects; the future holds no borrow, so that it can be shared.
    ///
    /// Any failure to connect is the server's, whatever it says: too many clients, a wrong password, a user that may not. A panic, as
    /// in a runtime without I/O, is caught: all who share the future would have it.
    pub(crate) fn connect(&self) -> impl Future<Output = Result<Connection, Failure>> + use<> {
        let kind = self.0.clone();
        let connected = async move {
            install_provider();
            kind.connect().await.map_err(|_| Failure::Away)
        };
        AssertUnwindSafe(connected)
            .catch_unwind()
            .map(|connected| connected.unwrap_or(Err(Failure::Away)))
    }
}

impl Kind {
    async fn connect(&self) -> Result<Connection, RedisError> {
        match self {
            Self::Server(client) => {
                // The limit has a timeout of its own for each command.
                let config = AsyncConnectionConfig::new()
                    .set_response_timeout(None)
                    .set_connection_timeout(Some(CONNECT));
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Connection::Server)
            }
            Self::Cluster(client) => client.connect().await.map(Connection::Cluster),
        }
    }
}

/// Sees to it that rustls finds its arithmetic; without, it panics where an application has compiled several in and chosen none.
#[cfg(feature = "tls")]
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(not(feature = "tls"))]
fn install_provider() {}

#[derive(Clone)]
pub(crate) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Whether to connect anew after this error. A connection to a cluster sees to its nodes itself.
    pub(crate) fn is_spoiled_by(&self, error: &RedisError) -> bool {
        matches!(self, Self::Server(_)) && is_lasting(error)
    }

    pub(crate) async fn query(&mut self, command: &Cmd) -> Result<(u32, u64), RedisError> {
        match self {
            Self::Server(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => connection.query(command).await,
        }
    }
}
