//! Limits on the calls in flight: fixed or adaptive, rejecting or queued, by class of call; and a throttle for clients.
//!
//! A rate limit says how many calls may begin; a concurrency limit says how many may be under way, whatever they take. It is what
//! keeps a server upright when its calls become slower, because by Little's law the calls in flight are their rate times their
//! duration. A call is under way until the end of its response body.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_concurrency::ConcurrencyLimitLayer;
//! use towerkit_core::{BoxError, RejectionReason, Rejection};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let limit = ConcurrencyLimitLayer::new(2)?;
//! let handle = limit.handle();
//! let mut service = ServiceBuilder::new().layer(limit).service_fn(|millis| async move {
//!     tokio::time::sleep(Duration::from_millis(millis)).await;
//!     Ok::<_, BoxError>("done")
//! });
//!
//! let slow = service.ready().await?.call(50);
//! let quick = service.ready().await?.call(10);
//! let rejected = service.ready().await?.call(10).await.unwrap_err();
//! let rejection = rejected.downcast_ref::<Rejection>().unwrap();
//! assert_eq!(rejection.reason(), RejectionReason::Overloaded);
//!
//! assert_eq!(quick.await?, "done");
//! assert_eq!(handle.in_flight(), 1);
//! assert_eq!(service.ready().await?.call(10).await?, "done");
//! assert_eq!(slow.await?, "done");
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! - [`ConcurrencyLimitLayer::new`] has a fixed limit, [`ConcurrencyLimitLayer::adaptive`] one that finds itself: [`Vegas`] by looking
//!   for the queue at the callee, [`Aimd`] by calls that are dropped.
//! - [`.queue(..)`](ConcurrencyLimitLayer::queue) lets calls wait, in a [`Queue`] that is bounded in size and in age.
//! - [`.classes(..)`](ConcurrencyLimitLayer::classes) rejects calls of less [`Priority`] first, and gives partitions their shares, as
//!   [`Classes`] say.
//! - [`AdaptiveThrottleLayer`] stands in a client, and rejects what the callee would reject anyway.
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): rejections are then 503, and `UNAVAILABLE` over gRPC.
//!
//! A call that is admitted at once costs a fixed limit one compare-and-swap, and one subtraction at its end: no lock, no clock, no
//! allocation. Partitions add a reading of the clock and a pair of the same, an adaptive limit a reading at either end and a lock
//! that is only tried. A call that waits takes a short lock, and allocates its timer.
//!
//! # Readiness
//!
//! Admission happens in `call`: a service that is ready but never called holds no permit, so that idle connections do not use a limit
//! up, and nobody waits for a permit without a call to use it for. A full limit is ready all the same, and its `call` rejects or
//! waits. A call that waits gives the readiness of the inner service back first.
//!
//! Under a load balancer a full limit that rejects at once draws the calls. [`ConcurrencyLimitLayer::backpressure`] makes `poll_ready`
//! wait instead, until there is a permit.
//!
//! # Cancellation
//!
//! Dropping the response future, or the response body before its end, gives the permit back. Dropping a call that waits takes it out of
//! the queue; if it had been admitted just then, the next one is. An adaptive limit takes no notice of cancelled calls, unless they
//! had taken longer than the mean.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the limit; so do its handles. For one limit each, make a layer each.
//!
//! # Errors
//!
//! A rejection is [`RejectionReason::Overloaded`](towerkit_core::RejectionReason::Overloaded), without a time to wait, for nobody knows it. A call whose
//! deadline is over when it would have to wait, or passes while it waits, is rejected as
//! [`RejectionReason::DeadlineExceeded`](towerkit_core::RejectionReason::DeadlineExceeded). The inner service's errors pass through unchanged.
//!
//! # Order
//!
//! At a server early, before work is done for a call, but inside of logs and metrics, which should see rejections. Health checks belong
//! outside of it (`.only(..)`), for a server that is busy is not ill. At a client inside of a balancer, one for each instance; inside
//! of a retry, so that an attempt that waits to be made holds no permit; outside of a time-out of one attempt, so that an adaptive
//! limit sees time-outs as such. Since a permit is held until the body has been read, a limit at a server counts slow readers too:
//! bound the time of a body, or they use it up.
//!
//! # Coming from go-kit
//!
//! go-kit limits rates only. Its `ratelimit.NewErroringLimiter` is in `towerkit-ratelimit`; this is what one reaches for when the
//! duration of calls is not known.

mod adaptive;
mod aimd;
mod algorithm;
mod class;
mod fraction;
mod gate;
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
mod tally;
mod throttle;
mod throttle_layer;
mod turn;
mod vegas;
mod word;

use towerkit_core::sync::watched as sync;

pub use adaptive::Adaptive;
pub use aimd::Aimd;
pub use algorithm::{LimitAlgorithm, Window};
pub use class::{Alike, Class, Classes, Priority, Sort, Sorted};
pub use guard::Permit;
pub use invalid::InvalidSetting;
pub use layer::{
    ConcurrencyLimit, ConcurrencyLimitLayer, QueuedConcurrencyLimit, QueuedConcurrencyLimitLayer,
};
pub use limit::{ConcurrencyLimitHandle, ConcurrencyLimitPolicy};
pub use queue::Queue;
pub use throttle::{AdaptiveThrottleHandle, AdaptiveThrottlePolicy, SentCall};
pub use throttle_layer::{AdaptiveThrottle, AdaptiveThrottleLayer};
pub use turn::Turn;
pub use vegas::Vegas;
