//! Hedged calls for tower services: a second attempt when the first is slow.
//!
//! A call that has waited longer than most calls take is sent once more, and the answer that comes first is taken. That cuts the slow
//! end of the latencies at the price of a few more requests (Dean and Barroso, *The Tail at Scale*, 2013): at most one for twenty
//! calls, unless you say otherwise. Only calls are hedged that do the same twice as once.
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
//! Over HTTP say `.http()` instead (`use towerkit_http::HttpExt`): calls with an idempotent method are then hedged without being marked. The
//! service inside gets requests whose body is a `ReplayBody`; a hedge carries the header [`HEDGE_ATTEMPT`]. That is not the header
//! of a retry, because a retry may stand outside, each of whose attempts may be hedged.
//!
//! # When a call is hedged
//!
//! - After a fixed delay, or at a [`Percentile`] of what recent calls took, if neither an answer has come nor the deadline that the
//!   request carries.
//! - At once, when an attempt has failed. If the callee asks for time (`grpc-retry-pushback-ms`, `Retry-After`), no hedge is sent
//!   before that time, and none at all if the callee asks for no further attempt. A call that waits for no other attempt then is not
//!   kept waiting: the failure is its result, and waiting is for a retry outside. Otherwise these are the rules of gRPC (proposal
//!   A6). A call that a guard on the way rejected never reached the callee, and is not sent again; one that a timeout ended did.
//! - Only if the call is idempotent: by its method over HTTP, elsewhere if [`idempotent`](HedgeLayer::idempotent) or
//!   [`idempotent_if`](HedgeLayer::idempotent_if) says so.
//! - Only if its body is kept ([`HedgeLayer::replay_up_to`]), and the first attempt has read it to its end.
//! - Only if the [`cap`](HedgeLayer::cap) of the layer allows it, and the [`budget`](HedgeLayer::budget) that is shared with retries.
//!   If one of them does not, the call goes on as if there were no hedging, and is not asked for again.
//!
//! A success wins, whichever attempt it comes from, and so does an error that is the caller's fault. If all attempts fail, the last
//! failure is the result.
//!
//! A call that is ready at its first poll costs no timer and no allocation; one that is hedged allocates for each hedge. A layer
//! with a percentile reads the clock at the start and at the end of a call, and keeps 3.6 KiB of counts.
//!
//! # Readiness
//!
//! Is the inner service's. The first attempt uses the instance that was polled ready, each hedge a clone, which is polled inside the
//! future. A hedge whose instance is not ready waits: nobody waits for it. If meanwhile the other attempts succeed or fail, that is
//! the result, and the hedge is given up, not having cost the budget anything.
//!
//! # Cancellation
//!
//! The losers are dropped in the poll that knows the winner, before the result is given out. Dropping the response future drops all
//! attempts. Over HTTP the head of a response wins; its body is the caller's.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the cap, the counts and the times of recent calls; a [`HedgeHandle`]
//! reads and changes them.
//!
//! # Errors
//!
//! This layer adds none: the result is always one of the inner service's, unchanged. A setting that makes no sense is an
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Panics
//!
//! The first poll that waits needs a tokio runtime with time enabled, as every timer of tokio does. A panic of a hedge is one of the
//! call.
//!
//! # Order
//!
//! Inside a retry, with which it shares a [`Budget`](towerkit_retry::Budget), so that the two do not multiply. Outside a balancer, so
//! that a hedge goes to another instance, and outside the breaker, the limits and the time-out of one attempt. Outside a
//! hedge, a time-out is one of the whole call. An observer outside sees one call, one inside sees each attempt, and the losers as
//! cancelled.
//!
//! # Coming from go-kit
//!
//! go-kit has no hedging.

mod allowance;
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

use towerkit_core::sync;

pub use future::HedgeFuture;
pub use handle::{HedgeHandle, Snapshot};
pub use hedging::HEDGE_ATTEMPT;
pub use layer::HedgeLayer;
pub use percentile::Percentile;
pub use service::Hedge;
