//! Another answer when a call fails: a value, a function, or another service.
//!
//! | the answer comes from | made by | keeps of a call |
//! |---|---|---|
//! | a value | [`FallbackLayer::value`] | nothing |
//! | a function of the failure | [`FallbackLayer::function`] | nothing |
//! | another service, called with the same request | [`FallbackLayer::service`] | the request, and a clone of that service |
//!
//! A call falls back if it failed, was overloaded or timed out, also where a layer further in rejected it for such a reason; never if
//! the caller is to blame, and never if it succeeded. [`FallbackLayer::when`] chooses otherwise.
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
//! let nobody = FallbackLayer::function(|failed: Result<String, BoxError>, end| {
//!     assert_eq!(end.outcome(), Outcome::Failure);
//!     Ok(format!("nobody ({})", failed.unwrap_err()))
//! });
//! let to_replica = FallbackLayer::service(replica);
//! let handle = to_replica.handle();
//!
//! let profile = ServiceBuilder::new()
//!     .layer(nobody.plain("profile"))
//!     .layer(to_replica.plain("profile"))
//!     .service_fn(|_user: &'static str| async { Err::<String, _>(BoxError::from("primary is down")) });
//!
//! assert_eq!(profile.clone().oneshot("Ann").await?, "Ann, as of yesterday");
//! assert_eq!(profile.oneshot("Zoe").await?, "nobody (replica is down)");
//! assert_eq!((handle.snapshot().answered, handle.snapshot().failed), (1, 1));
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP and gRPC say `.http()` or `.grpc()` instead (`use towerkit_http::HttpExt`). What is judged there is the head of the response; a
//! body that breaks off later has been handed out already, and so has a gRPC stream whose trailers tell of a failure. A response from a
//! fallback has [`FellBack`] in its extensions. The other service is called with a body that has been kept, up to
//! [`replay_up_to`](FallbackLayer::replay_up_to).
//!
//! # Readiness
//!
//! Is the inner service's. The other service is asked only when it is needed, and by the call that needs it.
//!
//! # Cancellation
//!
//! Dropping the response future drops whichever future it was waiting for. The first is dropped before the other service is asked; a
//! short response of it is read to its end while the other answers, so that an HTTP/1 connection is used again. The first may have done its work before it failed: fall back to another service with requests that may be repeated.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the counts and the switch of its [`FallbackHandle`]. Each call that may
//! fall back to another service clones that service.
//!
//! # Errors
//!
//! If the fallback fails itself, its failure is returned and the first one is dropped. A call whose request could not be kept returns
//! the first. Readiness that fails is no failed call and passes through.
//!
//! # Order
//!
//! Outside of a retry, a circuit breaker and a timeout, whose rejections it replaces. Logs and metrics outside see the answer of
//! the fallback, and those inside the failure. The event [`FellBack`](towerkit_core::Event::FallbackUsed) and the extension tell that an
//! answer is not the first choice.
//!
//! # Coming from go-kit
//!
//! go-kit passes no fallback to `hystrix.Do`. [`FallbackLayer::function`] around a circuit breaker is what that argument does.

mod answer;
mod config;
mod fell_back;
mod future;
mod handle;
mod layer;
mod other;
mod other_future;
mod plan;
mod service;

pub use answer::{Function, Other, Substitute, Value};
pub use fell_back::FellBack;
pub use future::FallbackFuture;
pub use handle::{FallbackHandle, Snapshot};
pub use layer::FallbackLayer;
pub use other::FallbackTo;
pub use other_future::FallbackToFuture;
pub use service::Fallback;
