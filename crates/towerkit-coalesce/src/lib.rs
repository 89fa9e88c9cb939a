//! One call for many that ask the same at the same time.
//!
//! Calls have a key. While one is being made, others with an equal key wait for it and get a copy of its answer: what Go calls
//! single flight. Nothing is kept beyond the call, and nothing is spawned: the first caller's own future makes the call.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_coalesce::CoalesceLayer;
//! use towerkit_core::{BoxError, LayerExt};
//!
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let layer = CoalesceLayer::new(|user: &u64| Some(*user)).plain("user");
//! let handle = layer.handle();
//! let service = ServiceBuilder::new().layer(layer).service_fn(|user: u64| async move {
//!     CALLS.fetch_add(1, Ordering::Relaxed);
//!     tokio::time::sleep(Duration::from_millis(50)).await;
//!     Ok::<_, BoxError>(format!("user {user}"))
//! });
//!
//! let call = |user| service.clone().oneshot(user);
//! let (one, same, other) = tokio::join!(call(7), call(7), call(8));
//! assert_eq!((one?, same?, other?), ("user 7".into(), "user 7".into(), "user 8".into()));
//! assert_eq!(CALLS.load(Ordering::Relaxed), 2);
//! assert_eq!(handle.snapshot().shared, 1);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Keys
//!
//! Equal keys have to mean that one answer is right for both callers, whoever they are. A call whose key is `None` is made as if
//! there were no layer. Keys are hashed with a secret, and there are never more of them than calls in flight.
//!
//! # Over HTTP
//!
//! Take `towerkit_http::RequestKey::of` for the key and say `.http()` instead of `.plain(..)`: calls share a `GET` or `HEAD` that has neither credentials
//! nor conditions. Bodies are read ahead up to [`max_body`](CoalesceLayer::max_body), so that the answer of one call can be given
//! to many; also that of a call for which nobody waits, since somebody might. Choose the operations that profit by `.only(..)`,
//! and leave out those that stream.
//!
//! A response that is longer, sets a cookie, is partial, an event stream or a redirect for now, whose `Cache-Control` says
//! `private`, `no-store` or `no-cache`, or that varies by a field which is not in the key, is for its caller alone; the others
//! call for themselves at once. A copy has the head, body and trailers of the response, but not its extensions.
//!
//! # Readiness
//!
//! Is the inner service's. A call that waits for another gives it back first, and gets its own before it calls after all.
//!
//! # Cancellation
//!
//! When the caller who makes the call goes away, or the call panics, those who wait are woken: one makes the call, with its own
//! request, and the others wait for that. Who waits can go away at any time, and leaves nothing behind.
//!
//! The call goes on while its caller polls it. A caller that neither polls nor drops its future holds up all who wait for it; a
//! timeout around this layer bounds that. A call that asks, from inside, for its own key waits for itself.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share calls. Services with different answers need keys that differ.
//!
//! # Errors
//!
//! An error is its caller's alone, as errors cannot be cloned. One of those who waited for it calls next, and the others wait
//! again: at most [`waits`](CoalesceLayer::waits) times each, so that failures do not queue up. Of the answers that are no
//! errors, those with the outcome of a success or a client error are shared, unless [`share`](CoalesceLayer::share) says
//! otherwise. A rejection by a layer further in is never shared.
//!
//! # Order
//!
//! Inside authentication and per-caller limits, which have to see every caller. Inside a cache, so that callers who miss the same
//! answer make one call. Outside retry, circuit breaker and whatever else makes or counts calls.
//!
//! # Coming from go-kit
//!
//! go-kit has no such middleware; one writes it with `golang.org/x/sync/singleflight`. There, errors and panics are shared too,
//! and a caller's context ends the call for all.

mod flight;
mod flights;
mod future;
mod invalid;
mod key;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod models;
mod service;
mod settings;

use towerkit_core::sync;

pub use future::CoalesceFuture;
pub use invalid::InvalidCoalesce;
pub use layer::{CoalesceHandle, CoalesceLayer, CoalesceSnapshot};
pub use service::Coalesce;
