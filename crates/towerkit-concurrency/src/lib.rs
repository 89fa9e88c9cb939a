//! Limits the calls in flight of a [`tower`](https://docs.rs/tower) service, and sheds the load above the limit.
//!
//! Use it to keep a server responsive when its calls become slower. A rate limit bounds how many calls start per second; a
//! concurrency limit (a bulkhead) bounds how many run at once, however long each of them takes. By
//! [Little's law](https://en.wikipedia.org/wiki/Little%27s_law) the calls in flight are the arrival rate times the duration, so a
//! limit on them also bounds memory and queues behind the service. A call is in flight until the end of its response body.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_concurrency::ConcurrencyLimitLayer;
//! use towerkit_core::{BoxError, Rejection, RejectionReason};
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
//! assert_eq!(handle.snapshot().in_flight, 1);
//! assert_eq!(service.ready().await?.call(10).await?, "done");
//! assert_eq!(slow.await?, "done");
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! - [`ConcurrencyLimitLayer::new`] sets a fixed limit, [`ConcurrencyLimitLayer::adaptive`] a limit that an algorithm adjusts:
//!   [`Vegas`] by the latency, [`Aimd`] by rejections and timeouts of the upstream.
//! - [`.queue(..)`](ConcurrencyLimitLayer::queue) lets calls wait for a permit in a [`Queue`] of bounded size and wait time.
//! - [`.classes(..)`](ConcurrencyLimitLayer::classes) sheds calls of low [`Priority`] first, and reserves shares of the limit for
//!   partitions, as [`PriorityClasses`] set them.
//! - [`AdaptiveThrottleLayer`] belongs in a client, and rejects calls that the upstream would probably reject.
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): a rejection is then a response with status
//! [503](https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6.4), and `UNAVAILABLE` over gRPC.
//!
//! A fixed limit costs an admitted call one compare-and-swap, and one subtraction at its end: no lock, no clock, no allocation.
//! Partitions add a clock reading and two more atomic operations; an adaptive limit adds a clock reading at both ends and a
//! [`try_lock`](std::sync::Mutex::try_lock). A call that waits takes a short lock and allocates its timer.
//!
//! # Readiness
//!
//! [`poll_ready`](https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#tymethod.poll_ready) forwards to the inner service. Permits are acquired in
//! [`call`](https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#tymethod.call): a service that is ready but never called holds no permit, so idle connections cannot
//! exhaust the limit. While the limit is full the service is still ready, and `call` rejects or waits. A call that waits first
//! releases the readiness of the inner service.
//!
//! Under a load balancer an instance that rejects at once attracts calls.
//! [`ConcurrencyLimitLayer::backpressure`] keeps `poll_ready` pending instead until a permit is free.
//!
//! # Cancellation
//!
//! Dropping the response future, or the response body before its end, releases the [`Permit`]. Dropping a call that waits removes
//! it from the queue; if it had just been admitted, its permit passes to the next waiter. An adaptive limit ignores cancelled
//! calls, unless they ran longer than the mean.
//!
//! # Clones
//!
//! All services of one layer, their clones and its [handles](ConcurrencyLimitHandle) share the limit. Make one layer for each
//! separate limit.
//!
//! # Errors
//!
//! A rejection has the reason [`RejectionReason::Overloaded`](towerkit_core::RejectionReason::Overloaded), without a
//! [`retry_after`](towerkit_core::Rejection::retry_after), because the time until a permit is free is unknown. A call whose
//! [`Deadline`](towerkit_core::Deadline) has passed before it can wait, or passes while it waits, is rejected with
//! [`RejectionReason::DeadlineExceeded`](towerkit_core::RejectionReason::DeadlineExceeded). Errors of the inner service pass through unchanged. An invalid setting is a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! In a server, put the limit early, before any expensive work, but inside logs and metrics, so that they record rejections.
//! Exclude health checks with [`.only(..)`](towerkit_core::LayerExt::only): a busy server is still healthy.
//!
//! In a client, put it inside the load balancer, one limit per instance; inside a retry, so that a call that backs off holds no
//! permit; and outside the timeout of one attempt, so that an adaptive limit sees timeouts. A permit is held until the response
//! body has been read, so a limit in a server also counts slow readers: limit the time of bodies as well.
//!
//! # Coming from go-kit
//!
//! go-kit limits rates only: its
//! [`ratelimit.NewErroringLimiter`](https://pkg.go.dev/github.com/go-kit/kit/ratelimit#NewErroringLimiter) corresponds to
//! `towerkit-ratelimit`. Use a concurrency limit where the duration of calls varies.

mod acquire;
mod adaptive;
mod adaptive_limit;
mod aimd;
mod algorithm;
mod classes;
mod classifier;
mod config;
mod fraction;
mod guard;
mod handle;
mod layer;
mod limit_events;
mod limiter;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod partitions;
mod permits;
mod queue;
mod state;
use towerkit_core::sync::watched as sync;
mod throttle;
mod vegas;
mod wait_queue;

pub use acquire::AcquireFuture;
pub use adaptive::Adaptive;
pub use aimd::Aimd;
pub use algorithm::{LimitAlgorithm, Window};
pub use classes::{Priority, PriorityClass, PriorityClasses};
pub use classifier::{ClassifyPriority, PriorityFn, SingleClass};
pub use guard::ConcurrencyLimitPolicy;
pub use handle::{ConcurrencyLimitHandle, ConcurrencyLimitSnapshot};
pub use layer::{
    ConcurrencyLimit, ConcurrencyLimitLayer, QueuedConcurrencyLimit, QueuedConcurrencyLimitLayer,
};
pub use queue::Queue;
pub use state::Permit;
pub use throttle::{
    AdaptiveThrottle, AdaptiveThrottleHandle, AdaptiveThrottleLayer, AdaptiveThrottlePolicy,
    AdaptiveThrottleSnapshot, SentCall,
};
pub use vegas::Vegas;
