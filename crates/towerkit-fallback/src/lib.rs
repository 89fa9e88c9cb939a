//! Fallbacks for [tower] services: a default value, a computed response or another service in place of a failed call.
//!
//! Use it if an older or simpler response is better for your callers than an error.
//!
//! | source of the response | constructor | keeps for a call |
//! |---|---|---|
//! | a value | [`FallbackLayer::value`] | no state |
//! | a function of the failure | [`FallbackLayer::function`] | no state |
//! | another service, called with the same request | [`FallbackLayer::service`] | the request, and a clone of that service |
//!
//! A call falls back if its [outcome](towerkit_core::Outcome) is a failure, overloaded or timed out, including rejections by an inner
//! layer for such a reason. Errors that are the caller's fault and successes are returned unchanged. [`FallbackLayer::when`] sets another
//! condition.
//!
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use towerkit_core::{BoxError, LayerExt, Outcome};
//! use towerkit_fallback::FallbackLayer;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let replica = service_fn(|user: &'static str| async move {
//!     if user == "Zoe" { Err(BoxError::from("replica is down")) } else { Ok(format!("{user}, as of yesterday")) }
//! });
//! let unknown = FallbackLayer::function(|failed: Result<String, BoxError>, end| {
//!     assert_eq!(end.outcome(), Outcome::Failure);
//!     Ok(format!("unknown ({})", failed.unwrap_err()))
//! });
//! let to_replica = FallbackLayer::service(replica);
//! let handle = to_replica.handle();
//!
//! let profile = ServiceBuilder::new()
//!     .layer(unknown.plain("profile"))
//!     .layer(to_replica.plain("profile"))
//!     .service_fn(|_user: &'static str| async { Err::<String, _>(BoxError::from("primary is down")) });
//!
//! assert_eq!(profile.clone().oneshot("Ann").await?, "Ann, as of yesterday");
//! assert_eq!(profile.oneshot("Zoe").await?, "unknown (replica is down)");
//! assert_eq!((handle.snapshot().answered, handle.snapshot().failed), (1, 1));
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP and gRPC use `.http()` or `.grpc()` (from `towerkit_http::HttpExt`). The outcome there is that of the response head: a body
//! that breaks off later, or a gRPC stream with a failure in its trailers, has already reached the caller. The response of a fallback has
//! [`FallbackUsed`] in its extensions. The other service gets the [replayed](towerkit_core::ReplayRequest) request, with a body of up to
//! [`replay_up_to`](FallbackLayer::replay_up_to) bytes.
//!
//! # Readiness
//!
//! [`poll_ready`](tower_service::Service::poll_ready) forwards to the inner service. The other service is polled for readiness only by a
//! call that falls back.
//!
//! # Cancellation
//!
//! Dropping the response future drops the future that it waits for. The failed call is dropped before the other service is called; a
//! short response of it is [drained](towerkit_core::DrainResponse) meanwhile, so that an HTTP/1 connection can be reused. The failed call
//! may have done its work before it failed: fall back to another service only for [idempotent] requests.
//!
//! # Clones
//!
//! All services of one layer, and their clones, share the counts and the switch of its [`FallbackHandle`]. Each call that may fall back
//! to another service clones that service.
//!
//! # Errors
//!
//! If the fallback fails, its failure is returned, and the original one is dropped. A call with a request that cannot be replayed returns
//! its original failure. An error from `poll_ready` is returned unchanged.
//!
//! # Order
//!
//! Put it outside a retry, a circuit breaker and a timeout, so that it replaces their rejections. Outer logs and metrics record the
//! response of the fallback, inner ones the failure. The event [`FallbackUsed`](towerkit_core::Event::FallbackUsed) and the extension
//! tell that a response is a fallback.
//!
//! # Coming from go-kit
//!
//! go-kit passes no fallback to `hystrix.Do`; [`FallbackLayer::function`] around a circuit breaker does the same.
//!
//! [tower]: https://docs.rs/tower
//! [idempotent]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2

mod config;
mod fallback_service;
mod fallback_service_future;
mod fallback_used;
mod future;
mod handle;
mod layer;
mod pending_fallback;
mod response;
mod service;

pub use fallback_service::FallbackService;
pub use fallback_service_future::FallbackServiceFuture;
pub use fallback_used::FallbackUsed;
pub use future::FallbackFuture;
pub use handle::{FallbackHandle, FallbackSnapshot};
pub use layer::FallbackLayer;
pub use response::{ByFunction, ByService, ByValue, FallbackResponse};
pub use service::Fallback;
