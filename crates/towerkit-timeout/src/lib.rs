//! A timeout for tower services, whose timer is made only for calls that wait.
//!
//! A call whose response head is not there in time is dropped and refused. A call that is ready at its first poll costs no timer and
//! no reading of a clock.
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Reason, Rejection};
//! use towerkit_timeout::TimeoutLayer;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))?)
//!     .service_fn(|naps: u64| async move {
//!         tokio::time::sleep(Duration::from_secs(naps)).await;
//!         Ok::<_, BoxError>("good morning")
//!     });
//!
//! assert_eq!(service.clone().oneshot(1).await?, "good morning");
//! let error = service.oneshot(3).await.unwrap_err();
//! assert_eq!(error.downcast_ref::<Rejection>().unwrap().reason(), Reason::DeadlineExceeded);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): the answer is then 504, and `DEADLINE_EXCEEDED` over gRPC.
//!
//! # Readiness
//!
//! Is the inner service's, and not timed. The time of a call runs from the first poll that leaves it waiting.
//!
//! # Cancellation
//!
//! When the time is up the inner future is dropped before the refusal is given out. Dropping the response future drops it too.
//! The body of a response that came in time is not timed.
//!
//! # Clones
//!
//! All services that one layer makes share the timeout, which a [`TimeoutHandle`] can change while they run.
//!
//! # Errors
//!
//! A refusal is [`Reason::DeadlineExceeded`](towerkit_core::Reason::DeadlineExceeded). A timeout of zero, or of more than a year, is
//! an [`InvalidTimeout`].
//!
//! # Panics
//!
//! The first poll that waits needs a tokio runtime with time enabled, as every timer of tokio does.
//!
//! # Order
//!
//! Inside a circuit breaker, so that the breaker learns of the timeout instead of a cancelled call; inside a retry, so that each
//! attempt has its own time.
//!
//! # Coming from go-kit
//!
//! go-kit has `context.WithTimeout` and the timeout of `hystrix`, which lets the call run on. Here the call is dropped.

mod future;
mod invalid;
mod layer;
mod service;

pub use future::TimeoutFuture;
pub use invalid::InvalidTimeout;
pub use layer::{TimeoutHandle, TimeoutLayer};
pub use service::Timeout;
