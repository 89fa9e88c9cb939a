//! A bucket for each key, in a table of a fixed size.

mod buckets;
mod config;
mod guard;
mod handle;
mod layer;
#[cfg(all(test, not(towerkit_loom)))]
mod model;
mod overflow_reporter;
mod overrides;
mod slot;

pub use guard::KeyedRateLimitPolicy;
pub use handle::{KeyedRateLimitHandle, KeyedRateLimitSnapshot};
pub use layer::{KeyedRateLimit, KeyedRateLimitLayer};
#[cfg(all(test, towerkit_loom))]
pub(crate) use {buckets::KeyedBuckets, config::KeyedConfig, slot::BucketSlot};
