//! Answers kept for a while, bounded in number and in age.
//!
//! Calls have a key. The answer to one is kept for a [`Lifetime`], within a [`Capacity`], and given to all who ask with an equal
//! key. Past its time it can be given out while one caller fetches the next, or to a caller whose own call fails. Nothing is
//! spawned: answers are fetched by the callers' own futures, and the map ([`moka`], which keeps what is asked for often) does its
//! chores on their threads.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_cache::{CacheLayer, Capacity, Lifetime};
//! use towerkit_core::{BoxError, LayerExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let lifetime = Lifetime::new(Duration::from_secs(60))?.stale_if_error(Duration::from_secs(3600))?;
//! let layer = CacheLayer::new(lifetime, Capacity::entries(10_000)?, |user: &u64| Some(*user)).plain("user");
//! let handle = layer.handle();
//! let mut service = ServiceBuilder::new().layer(layer).service_fn(|user: u64| async move {
//!     Ok::<_, BoxError>(format!("user {user}"))
//! });
//!
//! assert_eq!(service.ready().await?.call(7).await?, "user 7");
//! assert_eq!(service.ready().await?.call(7).await?, "user 7");
//! assert_eq!((handle.snapshot().misses, handle.snapshot().hits), (1, 1));
//!
//! handle.invalidate(&7);
//! assert_eq!(service.ready().await?.call(7).await?, "user 7");
//! assert_eq!(handle.snapshot().misses, 2);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Keys
//!
//! Equal keys have to mean that one answer is right for both callers, whoever they are. A call whose key is `None` is made as if
//! there were no layer. A flood of keys that are asked for once is bounded by the capacity, and does not drive out what is asked
//! for often.
//!
//! # Over HTTP
//!
//! **This is not an HTTP cache as RFC 9111 has it.** It does not read `max-age`, `Expires` or the requests' `Cache-Control`, does
//! not validate, and adds no `Age`: how long an answer is good is what you say. Put a real one in front where origins and clients
//! rule.
//!
//! Take `towerkit_http::RequestKey::of` for the key, a capacity in bytes, and say `.http()` instead of `.plain(..)`. Kept are answers to a `GET` or
//! `HEAD` that has neither credentials nor conditions. Bodies are read ahead up to [`max_body`](CacheLayer::max_body), so that a
//! response begins when all of it is there: choose the operations that profit by `.only(..)`, and leave out those that stream.
//!
//! Not kept, on the safe side, is a response that sets a cookie, is partial, an event stream or a redirect for now, whose
//! `Cache-Control` says `private`, `no-store` or `no-cache`, or that varies by a field which is not in the key. What is kept of a
//! response is its head, body and trailers, but not its extensions.
//!
//! # Readiness
//!
//! Is the inner service's. A call that is answered from what is kept gives it back.
//!
//! # Cancellation
//!
//! A caller that is dropped while it fetches an answer, or panics, leaves that to the next.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share what is kept. Services with different answers need keys that differ.
//!
//! # Errors
//!
//! An error is never kept, nor is a rejection by a layer further in. Kept are successes, unless [`keep`](CacheLayer::keep) says
//! otherwise. An answer that is no failure and is not kept, such as a 404, throws away what was kept before.
//!
//! # Order
//!
//! Inside authentication, or anyone is given what only some may see; who may see it belongs in the key. Outside
//! [coalesce](https://docs.rs/towerkit-coalesce), or all who miss the same answer at the same time fetch it: this layer lets one
//! caller fetch only where the others can have the old answer. Outside retry, circuit breaker and timeout, so that an old answer
//! can stand in for what they give up on.
//!
//! # Coming from go-kit
//!
//! go-kit has no such middleware.

mod capacity;
mod config;
mod entry;
mod epochs;
mod errand;
mod freshness;
mod future;
mod handle;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod service;
mod store;

use towerkit_core::sync;

pub use capacity::Capacity;
pub use freshness::Lifetime;
pub use future::CacheFuture;
pub use handle::CacheHandle;
pub use layer::CacheLayer;
pub use service::Cache;
pub use store::CacheSnapshot;
