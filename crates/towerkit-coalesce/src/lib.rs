//! Request coalescing for [tower] services: one upstream call for all concurrent calls that ask for the same.
//!
//! Use it in front of an expensive operation that many callers request at the same time, for example to protect an upstream when a cache
//! entry expires. Each call has a key; calls with equal keys wait for the first one and get a copy of its response, as with Go's
//! [singleflight]. The layer keeps no response after the call and spawns no task: the first caller's own future makes the call.
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
//! Calls with equal keys get the same response, so the key must contain everything on which the response depends, including the caller
//! where it matters. A call with the key [`None`] is not shared. Keys are hashed with a random secret, and the table never holds more keys
//! than there are calls in flight.
//!
//! # Over HTTP
//!
//! Use `towerkit_http::RequestKey::of` as the key function and `.http()` as the protocol: calls share `GET` and `HEAD` requests without
//! [credentials] and without [conditional headers]. Response bodies are read ahead up to [`max_body`](CoalesceLayer::max_body), so that
//! they can be copied; this includes calls without waiters. Select the operations with `.only(..)`, and exclude those that stream.
//!
//! A response is private to its caller if it has a larger body, a [`Set-Cookie`] header, a `Cache-Control` of `private`, `no-store` or
//! `no-cache`, or a [`Vary`] header that the key does not cover, or if it is partial, an event stream or a temporary redirect; the waiters
//! then call for themselves at once. A copy has the head, body and trailers of the response, but not its extensions.
//!
//! # Readiness
//!
//! [`poll_ready`](tower_service::Service::poll_ready) forwards to the inner service. A call that waits for another releases its readiness,
//! and polls for readiness again before it calls the inner service itself.
//!
//! # Cancellation
//!
//! If the first caller is dropped, or its call panics, the waiters are woken: one of them makes the call with its own request, and the
//! others wait for it. A waiter can be dropped at any time.
//!
//! A call makes progress only while its caller polls it. A caller that neither polls nor drops its future delays all its waiters; a
//! timeout around this layer bounds the delay. A call that requests its own key from inside the service waits for itself.
//!
//! # Clones
//!
//! All services of one layer, and their clones, share calls. Services with different responses need different keys.
//!
//! # Errors
//!
//! An error is returned only to its own caller, because errors cannot be cloned. One of the waiters calls next, and the others wait for
//! it, at most [`max_waits`](CoalesceLayer::max_waits) times each. Responses with the [outcome](towerkit_core::Outcome) of a success or a
//! client error are shared, unless [`share`](CoalesceLayer::share) sets another condition. A rejection by an inner layer is not shared. A
//! setting that is out of range is a [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! Put it inside authentication and per-caller limits, which must see every caller, and inside a cache, so that concurrent misses make one
//! call. Put it outside retry, circuit breaker and all other layers that make or count upstream calls.
//!
//! # Coming from go-kit
//!
//! go-kit has no such middleware; its users write one with [singleflight], which also shares errors and panics, and in which one caller's
//! context ends the call for all.
//!
//! [singleflight]: https://pkg.go.dev/golang.org/x/sync/singleflight
//! [tower]: https://docs.rs/tower
//! [credentials]: https://www.rfc-editor.org/rfc/rfc9110#field.authorization
//! [conditional headers]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1
//! [`Set-Cookie`]: https://www.rfc-editor.org/rfc/rfc6265#section-4.1
//! [`Vary`]: https://www.rfc-editor.org/rfc/rfc9110#field.vary

mod call_table;
mod config;
mod future;
mod handle;
mod key;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod service;
mod shared_call;

use towerkit_core::sync;

pub use call_table::CoalesceSnapshot;
pub use future::CoalesceFuture;
pub use handle::CoalesceHandle;
pub use layer::CoalesceLayer;
pub use service::Coalesce;
