//! Timeouts and deadlines for tower services.
//!
//! | layer | what it does | kind |
//! |---|---|---|
//! | [`TimeoutLayer`] | drops a call whose response head is not there in time, or not before the deadline of its request | driver |
//! | [`DeadlineLayer`] | gives each request a deadline: the one that its caller sent, and never more than the server allows | guard |
//! | [`DeadlineInjectLayer`] | tells the callee how much time is left | guard |
//! | `BodyTimeoutLayer` (feature `http`) | ends response bodies that stall or dribble | driver |
//!
//! A call that is ready at its first poll costs no timer, and without a deadline no reading of a clock.
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, LayerExt, RejectionReason, Rejection};
//! use towerkit_timeout::TimeoutLayer;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))?.plain("nap"))
//!     .service_fn(|naps: u64| async move {
//!         tokio::time::sleep(Duration::from_secs(naps)).await;
//!         Ok::<_, BoxError>("good morning")
//!     });
//!
//! assert_eq!(service.clone().oneshot(1).await?, "good morning");
//! let error = service.oneshot(3).await.unwrap_err();
//! assert_eq!(error.downcast_ref::<Rejection>().unwrap().reason(), RejectionReason::DeadlineExceeded);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP say `.http()` instead (`use towerkit_http::HttpExt`): the answer is then 504, and `DEADLINE_EXCEEDED` over gRPC.
//!
//! # Deadlines
//!
//! A timeout says how long one call may take here; a [`Deadline`](towerkit_core::Deadline) says when nobody waits any more, and is
//! the same on every hop. On the wire it is the time that is left: `grpc-timeout`, or milliseconds in `x-request-timeout-ms`.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{Deadline, stack};
//! use towerkit_http::HttpExt;
//! use towerkit_timeout::{DeadlineInjectLayer, DeadlineLayer, TimeoutLayer};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineInjectLayer::new().http())
//!     .service_fn(|request: Request<()>| async move {
//!         let left: u64 = request.headers()["x-request-timeout-ms"].to_str().unwrap().parse().unwrap();
//!         assert!((1..=250).contains(&left));
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("enough time")))
//!     });
//! let server = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(30))?.http())
//!     .layer(TimeoutLayer::new(Duration::from_secs(30))?.http())
//!     .service_fn(move |request: Request<()>| {
//!         let mut further = Request::new(());
//!         let deadline = request.extensions().get::<Deadline>().expect("every request has one now");
//!         further.extensions_mut().insert(deadline.clone());
//!         client.clone().oneshot(further)
//!     });
//!
//! let request = Request::builder().header("x-request-timeout-ms", "250").body(())?;
//! assert_eq!(server.oneshot(request).await?.status(), 200);
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! What a caller sends can only shorten its time. A value that is not written as specified (at most eight digits and one of
//! `H M S m u n`; digits alone for milliseconds) counts as none, and the server's limit holds. What goes out is rounded down.
//!
//! # Readiness
//!
//! Is the inner service's, and not timed. The time of a call runs from the first poll that leaves it waiting; where its request has
//! a deadline, from the call.
//!
//! # Cancellation
//!
//! When the time is up the inner future is dropped before the rejection is given out. Dropping the response future drops it too.
//! [`TimeoutLayer`] does not time the body of a response that came in time; `BodyTimeoutLayer` does.
//!
//! # Clones
//!
//! All services that one layer makes share its limits, which a [`TimeoutHandle`] can change while they run.
//!
//! # Errors
//!
//! A rejection is [`RejectionReason::DeadlineExceeded`](towerkit_core::RejectionReason::DeadlineExceeded). A call whose deadline is over when it is made
//! is rejected without the inner service hearing of it. A call with a deadline that fails when that is there has timed out as well,
//! since a transport and a callee may give it up a little sooner: tonic does so, and calls it cancelled. A time of zero, or of more than a year, is an [`InvalidTimeout`].
//!
//! # Panics
//!
//! The first poll that waits needs a tokio runtime with time enabled, as every timer of tokio does.
//!
//! # Order
//!
//! [`TimeoutLayer`] stands inside of logs, metrics and a circuit breaker, so that they learn of the timeout instead of a cancelled
//! call; inside a retry, so that each attempt has its own time. [`DeadlineLayer`] stands outside of it and of whatever may wait, in
//! the policy stack with logs and metrics, behind them. [`DeadlineInjectLayer`] is the last before the transport.
//!
//! # Coming from go-kit
//!
//! go-kit has `context.WithTimeout`, whose deadline only its gRPC transport passes on, and the timeout of `hystrix`, which lets the
//! call run on. Here the call is dropped.

#[cfg(feature = "http")]
mod body_timer;
mod deadline;
mod future;
mod handle;
#[cfg(feature = "http")]
mod http;
mod inject;
mod invalid;
mod layer;
mod limit;
mod service;
mod wire;

pub use deadline::{DeadlineLayer, ReadDeadline};
pub use future::TimeoutFuture;
pub use handle::TimeoutHandle;
#[cfg(feature = "http")]
pub use http::{
    BodyTimedOut, BodyTimeout, BodyTimeoutFuture, BodyTimeoutHandle, BodyTimeoutLayer, TimeoutBody,
};
pub use inject::{DeadlineInjectLayer, InjectDeadline};
pub use invalid::{InvalidField, InvalidTimeout};
pub use layer::TimeoutLayer;
pub use service::Timeout;
