//! The types of `cluster.rs` without the feature `cluster`, which have no values.

use redis::{Cmd, RedisError};

#[derive(Clone)]
pub(crate) enum ClusterClient {}

#[derive(Clone)]
pub(crate) enum ClusterConnection {}

impl ClusterClient {
    pub(crate) async fn connect(&self) -> Result<ClusterConnection, RedisError> {
        match *self {}
    }
}

impl ClusterConnection {
    pub(crate) async fn query(&mut self, _command: &Cmd) -> Result<(u32, u64), RedisError> {
        match *self {}
    }
}
