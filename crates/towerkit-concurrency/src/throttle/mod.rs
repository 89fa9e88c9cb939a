//! The client-side throttle: rejects calls that the upstream would probably reject.

mod guard;
mod handle;
mod layer;
mod sliding_window;

pub use guard::{AdaptiveThrottlePolicy, SentCall};
pub use handle::{AdaptiveThrottleHandle, AdaptiveThrottleSnapshot};
pub use layer::{AdaptiveThrottle, AdaptiveThrottleLayer};
#[cfg(all(test, towerkit_loom))]
pub(crate) use sliding_window::SlidingWindow;
