//! One bucket, in which calls wait in line for their tokens.

mod delay;
mod delayed;
mod guard;
mod layer;
mod line;
#[cfg(all(test, not(towerkit_loom)))]
mod model;

pub use delay::Delay;
pub use guard::DelayingRateLimitPolicy;
pub use layer::{DelayingRateLimit, DelayingRateLimitHandle, DelayingRateLimitLayer};
