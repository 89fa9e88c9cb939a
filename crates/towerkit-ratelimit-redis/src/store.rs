use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::script_quota::ScriptQuota;

/// The token buckets that all processes share.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Takes up to `tokens` tokens from the bucket `name`, and fewer if it has fewer.
    fn take(
        &self,
        name: String,
        quota: ScriptQuota,
        tokens: u32,
    ) -> BoxFuture<'static, Result<Grant, StoreError>>;

    /// Drops the connection, so that the next request opens a new one.
    fn reset(&self);
}

/// The answer of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) tokens: u32,
    /// The time until the bucket has another token; zero if it has one now.
    pub(crate) wait: Duration,
}

/// The reason why a request for tokens failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// No answer in time, or an answer that concerns all buckets of the server.
    Unreachable,
    /// An error that concerns this bucket only.
    BadBucket,
}
