//! Limits.

#![allow(missing_docs)]

mod adaptive;
mod aimd;
mod algorithm;
mod class;
mod fraction;
mod gate;
mod gradient2;
mod guard;
mod invalid;
mod layer;
mod learn;
mod limit;
mod line;
#[cfg(all(test, towerkit_loom))]
mod models;
mod pools;
mod queue;
mod report;
mod room;
mod settings;
mod sync;
mod tally;
mod throttle;
mod throttle_layer;
mod turn;
mod vegas;
mod word;

pub use adaptive::Adaptive;
pub use aimd::Aimd;
pub use algorithm::{LimitAlgorithm, Window};
pub use class::{Alike, Class, Classes, Priority, Sort, Sorted};
pub use gradient2::Gradient2;
pub use guard::Permit;
pub use invalid::InvalidSetting;
pub use layer::{ConcurrencyLimitLayer, ConcurrencyLimited, QueuedLimitLayer, QueuedLimited};
pub use limit::ConcurrencyLimit;
pub use queue::Queue;
pub use throttle::AdaptiveThrottle;
pub use throttle_layer::{AdaptiveThrottleLayer, Throttled};
pub use turn::Turn;
pub use vegas::Vegas;
