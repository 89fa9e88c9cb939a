//! A response cache for [tower] services, bounded in size and in age.
//!
//! Use it to spare an upstream calls for the same response, and to respond with an older one while the upstream fails. The layer caches
//! the response of a call by its key, for a [`Lifetime`] and within a [`Capacity`]. A stale response can be returned while one caller
//! fetches the next ([stale-while-revalidate]), or to a caller whose own call failed ([stale-if-error]). No task is spawned: the callers'
//! own futures fetch responses, and the map ([`moka`], which favours frequently used entries) does its maintenance on their threads.
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
//! Calls with equal keys get the same response, so the key must contain everything on which the response depends, including the caller
//! where it matters. A call with the key [`None`] is not cached. The capacity bounds the number of keys, and a flood of keys that are used
//! once does not evict frequently used ones.
//!
//! # Over HTTP
//!
//! **This is not an HTTP cache as defined by [RFC 9111].** It does not read `max-age`, `Expires` or the `Cache-Control` of requests, does
//! not validate responses, and adds no `Age`: you set the lifetime. If origins and clients control caching, use an HTTP cache in front.
//!
//! Use `towerkit_http::RequestKey::of` as the key function, a capacity in [bytes](Capacity::bytes), and `.http()` as the protocol. The
//! layer caches responses to `GET` and `HEAD` requests without [credentials] and without [conditional headers]. Response bodies are read
//! ahead up to [`max_body`](CacheLayer::max_body), so a response begins when it is complete: select the operations with `.only(..)`, and
//! exclude those that stream.
//!
//! A response is not cached if it has a [`Set-Cookie`] header, a `Cache-Control` of `private`, `no-store` or `no-cache`, or a [`Vary`]
//! header that the key does not cover, or if it is partial, an event stream or a temporary redirect. A cached response has the head, body
//! and trailers of the original, but not its extensions.
//!
//! # Readiness
//!
//! [`poll_ready`](tower_service::Service::poll_ready) forwards to the inner service. A call that is answered from the cache releases the
//! readiness.
//!
//! # Cancellation
//!
//! If a caller is dropped while it fetches a response, or panics, the next caller fetches it.
//!
//! # Clones
//!
//! All services of one layer, and their clones, share one cache. Services with different responses need different keys.
//!
//! # Errors
//!
//! Errors and rejections by an inner layer are not cached. Successes are, unless [`keep`](CacheLayer::keep) sets another condition. A
//! response that is neither a failure nor cached, such as a 404, removes the cached response of its key. An invalid setting is a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! Put it inside authentication, and put the caller's permissions into the key, so that no caller gets the response of another. Put it
//! outside [coalesce], because this layer lets a single caller fetch only if the others can have a stale response. Put it outside retry,
//! circuit breaker and timeout, so that a stale response can replace their failures.
//!
//! # Coming from go-kit
//!
//! go-kit has no such middleware.
//!
//! [tower]: https://docs.rs/tower
//! [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111
//! [stale-while-revalidate]: https://www.rfc-editor.org/rfc/rfc5861#section-3
//! [stale-if-error]: https://www.rfc-editor.org/rfc/rfc5861#section-4
//! [credentials]: https://www.rfc-editor.org/rfc/rfc9110#field.authorization
//! [conditional headers]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1
//! [`Set-Cookie`]: https://www.rfc-editor.org/rfc/rfc6265#section-4.1
//! [`Vary`]: https://www.rfc-editor.org/rfc/rfc9110#field.vary
//! [coalesce]: https://docs.rs/towerkit-coalesce

mod capacity;
mod config;
mod entry;
mod fetch;
mod freshness;
mod future;
mod handle;
mod invalidations;
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
