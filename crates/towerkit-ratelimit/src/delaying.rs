//! One bucket, with a queue in which calls wait for their tokens.

mod future;
mod guard;
mod handle;
mod layer;
#[cfg(all(test, not(towerkit_loom)))]
mod model;
mod queued_bucket;
mod wait_queue;

pub use future::AcquireFuture;
pub use guard::DelayingRateLimitPolicy;
pub use handle::{DelayingRateLimitHandle, DelayingRateLimitSnapshot};
pub use layer::{DelayingRateLimit, DelayingRateLimitLayer};
