//! Timeouts and deadlines for [tower] services.
//!
//! Use a timeout to end calls that take too long, and deadlines to pass the time that a caller still waits to every service behind it.
//!
//! | layer | does | kind |
//! |---|---|---|
//! | [`TimeoutLayer`] | drops a call whose response head does not arrive in time, or before the request's deadline | driver |
//! | [`DeadlineLayer`] | gives each request a deadline: the caller's, but never a later one than the server allows | guard |
//! | [`DeadlineInjectLayer`] | sends the remaining time to the upstream | guard |
//! | `BodyTimeoutLayer` (feature `http`) | ends response bodies that stall or take too long | driver |
//!
//! A call that is ready at its first poll costs no timer, and without a deadline no clock reading.
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
//! Over HTTP use `.http()` (from `towerkit_http::HttpExt`): the response is then [504], and `DEADLINE_EXCEEDED` over gRPC.
//!
//! # Deadlines
//!
//! A timeout limits one call in one process; a [`Deadline`](towerkit_core::Deadline) is the point in time after which the caller no
//! longer waits, and is the same on every hop. On the wire it is the remaining time: [`grpc-timeout`], or milliseconds in
//! `x-request-timeout-ms`.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
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
//!     .service_fn(move |_request: Request<()>| client.clone().oneshot(Request::new(())));
//!
//! let request = Request::builder().header("x-request-timeout-ms", "250").body(())?;
//! assert_eq!(server.oneshot(request).await?.status(), 200);
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! Inside of a [`DeadlineLayer`], code that knows of no deadline hands it on: the client takes the
//! [current](towerkit_core::Deadline::current) one. A task that is spawned is outside of the call; give it the deadline of the request.
//!
//! A caller can only shorten the server's limit. A malformed value (the format is at most eight digits and one of `H M S m u n`, or only
//! digits for milliseconds) is ignored, so that the server's limit applies. Values are sent rounded down.
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service, without a timeout. The time of a call begins with its first pending poll or, if its
//! request has a deadline, with the call.
//!
//! # Cancellation
//!
//! When a call times out, the inner future is dropped before the rejection is returned. Dropping the response future drops it, too.
//! [`TimeoutLayer`] ends at the head of the response; `BodyTimeoutLayer` limits the body.
//!
//! # Clones
//!
//! All services of one layer share its timeout, which a [`TimeoutHandle`] can change at run time.
//!
//! # Errors
//!
//! A call that times out is rejected with [`DeadlineExceeded`](towerkit_core::RejectionReason::DeadlineExceeded), and a call whose
//! deadline has already passed is rejected without calling the inner service. A call that fails at its deadline counts as timed out,
//! because transports and upstreams end calls at the same deadline, sometimes one tick earlier: tonic reports them as cancelled. A
//! timeout of zero, or of more than 365 days, is a [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Panics
//!
//! The first pending poll needs a tokio runtime with time enabled, as all timers of [`tokio::time`] do.
//!
//! # Order
//!
//! Put [`TimeoutLayer`] inside log, metrics and circuit breaker, so that they record the timeout instead of a cancelled call, and inside
//! a retry, so that each attempt has its own timeout. Put [`DeadlineLayer`] outside of it and of every layer that may wait, after log and
//! metrics in their stack. Put [`DeadlineInjectLayer`] next to the transport.
//!
//! # Coming from go-kit
//!
//! go-kit has `context.WithTimeout`, whose deadline only its gRPC transport propagates, and the timeout of `hystrix`, which lets the call
//! continue. This crate drops the call.
//!
//! [504]: https://www.rfc-editor.org/rfc/rfc9110#status.504
//! [`grpc-timeout`]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
//! [tower]: https://docs.rs/tower

#[cfg(feature = "http")]
mod body_timer;
mod deadline;
mod future;
mod handle;
#[cfg(feature = "http")]
mod http;
mod inject;
mod layer;
mod limit;
mod service;
mod wire;

pub use deadline::{DeadlineLayer, DeadlinePolicy};
pub use future::TimeoutFuture;
pub use handle::TimeoutHandle;
#[cfg(feature = "http")]
pub use http::{
    BodyTimedOut, BodyTimeout, BodyTimeoutFuture, BodyTimeoutHandle, BodyTimeoutLayer,
    BodyTimeoutSnapshot, TimeoutBody,
};
pub use inject::{DeadlineInjectLayer, DeadlineInjectPolicy};
pub use layer::TimeoutLayer;
pub use service::Timeout;
