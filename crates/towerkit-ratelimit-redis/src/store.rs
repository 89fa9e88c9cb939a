use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::measure::Measure;

/// Where the buckets are that all processes share.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Takes up to `tokens` from the bucket `key`, of which it takes none that is not there.
    fn take(
        &self,
        key: String,
        measure: Measure,
        tokens: u32,
    ) -> BoxFuture<'static, Result<Grant, Failure>>;

    /// Gives up on what may be stuck.
    fn reset(&self);
}

/// What a bucket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) tokens: u32,
    /// After which time there will be another token; zero if there is one.
    pub(crate) wait: Duration,
}

/// Why a bucket gave nothing and did not say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody answered, or not in time, or nobody who can.
    Away,
    /// The answer was an error that concerns this bucket.
    Broken,
}
