//! Hedged requests for [tower] clients: a second attempt for a slow call, so that a few slow instances do not set the tail latency.
//!
//! Use it for idempotent calls whose slowest few per cent take much longer than the others, if the upstream has capacity for 5 % more
//! calls. A call that has waited longer than most calls take is sent once more, and the first response wins (Dean and Barroso, [*The Tail
//! at Scale*], 2013).
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//! use tokio::time::{Instant, sleep};
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, LayerExt};
//! use towerkit_hedge::HedgeLayer;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let hedge = HedgeLayer::after(Duration::from_millis(50))?.plain("length").idempotent();
//! let handle = hedge.handle();
//! let attempts = Arc::new(AtomicU32::new(0));
//! let service = ServiceBuilder::new().layer(hedge).service_fn(move |word: &'static str| {
//!     let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
//!     async move {
//!         sleep(Duration::from_millis(if is_first { 1000 } else { 20 })).await;
//!         Ok::<_, BoxError>(word.len())
//!     }
//! });
//!
//! let start = Instant::now();
//! assert_eq!(service.oneshot("ferris").await?, 6);
//! assert_eq!(start.elapsed(), Duration::from_millis(70));
//! assert_eq!((handle.snapshot().hedges, handle.snapshot().wins), (1, 1));
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP use `.http()` (from `towerkit_http::HttpExt`): requests with an [idempotent method] are then hedged without
//! [`idempotent`](HedgeLayer::idempotent). A hedge carries the header [`HEDGE_ATTEMPT`], which differs from that of a retry, because each
//! attempt of an outer retry may be hedged.
//!
//! # When a call is hedged
//!
//! - After a fixed delay, or at a [`Percentile`] of the latency of recent calls, if neither a response nor the request's
//!   [`Deadline`](towerkit_core::Deadline) has come first.
//! - At once when an attempt fails, by the rules of [gRPC A6]. If the upstream sends a pushback (`grpc-retry-pushback-ms`,
//!   [`Retry-After`]), no hedge is sent before that time, or none at all. A call without another attempt in flight then ends with its
//!   failure, because waiting is the task of an outer retry. A call that an inner guard rejected is not sent again, because it did not
//!   reach the upstream; a call that timed out is.
//! - Only if the call is idempotent: by its HTTP method, or by [`idempotent`](HedgeLayer::idempotent) or
//!   [`idempotent_if`](HedgeLayer::idempotent_if).
//! - Only if its body can be [replayed](towerkit_core::ReplayRequest), up to [`HedgeLayer::replay_up_to`] bytes; a recorded body also
//!   needs the first attempt to have read it to its end.
//! - Only if the [`cap`](HedgeLayer::cap) of the layer and its [`budget`](HedgeLayer::budget), which retries share, allow it. Otherwise
//!   the call continues without a hedge.
//!
//! The first success wins, and so does an error that is the caller's fault. If all attempts fail, the result is the last failure.
//!
//! A call that is ready at its first poll costs no timer and no allocation; a hedged call allocates for each hedge. A layer with a
//! percentile reads the clock at the start and at the end of a call, and keeps 3.6 KiB of counts.
//!
//! # Readiness
//!
//! [`poll_ready`](tower_service::Service::poll_ready) forwards to the inner service. The first attempt uses the instance that was polled
//! ready; each hedge uses a clone, which is polled for readiness inside the future. If the other attempts end while a hedge waits for
//! readiness, the hedge is dropped and costs no budget.
//!
//! # Cancellation
//!
//! The losing attempts are dropped in the poll in which the winner is known, before the result is returned. Dropping the response future
//! drops all attempts. Over HTTP the first response head wins, and its body belongs to the caller.
//!
//! # Clones
//!
//! All services of one layer, and their clones, share its cap, its counts and its latencies; a [`HedgeHandle`] reads and changes them.
//!
//! # Errors
//!
//! The layer adds no errors: the result is always one of the inner service's results, unchanged. An invalid setting is a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Panics
//!
//! The first pending poll needs a tokio runtime with time enabled, as all timers of [`tokio::time`] do. A panic in a hedge is a panic of
//! the call.
//!
//! # Order
//!
//! Put it inside a retry, with which it shares a [`Budget`](towerkit_retry::Budget), so that the two do not multiply; outside a load
//! balancer, so that a hedge can reach another instance; and outside the breaker, the limits and the timeout of one attempt. A timeout
//! around it limits the whole call. An outer observer records one call; an inner one records each attempt, and the losers as cancelled.
//!
//! # Coming from go-kit
//!
//! go-kit has no hedging.
//!
//! [tower]: https://docs.rs/tower
//! [*The Tail at Scale*]: https://research.google/pubs/the-tail-at-scale/
//! [idempotent method]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
//! [gRPC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
//! [`Retry-After`]: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after

mod attempt;
mod bucket;
mod config;
mod delay;
mod future;
mod handle;
mod hedging;
mod histogram;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod percentile;
mod service;
mod state;
mod token_bucket;

use towerkit_core::sync;

pub use future::HedgeFuture;
pub use handle::{HedgeHandle, HedgeSnapshot};
pub use hedging::HEDGE_ATTEMPT;
pub use layer::HedgeLayer;
pub use percentile::Percentile;
pub use service::Hedge;
