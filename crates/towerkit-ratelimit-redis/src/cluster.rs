use std::sync::Arc;

use redis::{Cmd, RedisError, cluster, cluster_async};

/// A client of a Redis Cluster: a shared [`redis::cluster::ClusterClient`].
#[derive(Clone)]
pub(crate) struct ClusterClient(Arc<cluster::ClusterClient>);

/// A connection to a Redis Cluster: a [`redis::cluster_async::ClusterConnection`].
#[derive(Clone)]
pub(crate) struct ClusterConnection(cluster_async::ClusterConnection);

impl ClusterClient {
    pub(crate) fn new(client: cluster::ClusterClient) -> Self {
        Self(Arc::new(client))
    }

    pub(crate) async fn connect(&self) -> Result<ClusterConnection, RedisError> {
        self.0.get_async_connection().await.map(ClusterConnection)
    }
}

impl ClusterConnection {
    pub(crate) async fn query(&mut self, command: &Cmd) -> Result<(u32, u64), RedisError> {
        command.query_async(&mut self.0).await
    }
}
