//! Retries for tower services: safe by default, with backoff and a budget.
//!
//! [`RetryLayer`] sends a failed request again, up to three attempts in all, after a random delay that grows from retry to retry.
//! Use it in clients, for upstreams with transient failures. Only idempotent requests are retried, and a [`Budget`] limits retries to
//! a share of the calls, so that they do not overload an upstream in trouble.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{Empty, Full};
//! use bytes::Bytes;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_http::HttpExt;
//! use towerkit_retry::{RetryLayer, RetryReport};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let attempts = AtomicU32::new(0);
//! let client = ServiceBuilder::new()
//!     .layer(RetryLayer::new().http())
//!     .service_fn(async |_: Request<Empty<Bytes>>| {
//!         let mut response = Response::new(Full::<Bytes>::default());
//!         if attempts.fetch_add(1, Relaxed) == 0 {
//!             *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!         }
//!         Ok::<_, std::io::Error>(response)
//!     });
//!
//! let response = client.oneshot(Request::new(Empty::new())).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! let report = response.extensions().get::<RetryReport>().unwrap();
//! assert_eq!(report.failed_attempts().len(), 1);
//! # Ok::<_, std::io::Error>(()) }).unwrap();
//! ```
//!
//! The layer fits a client as it is: hyper-util's, tonic's `Channel`, or reqwest's by an adapter. Request bodies are replayed if their
//! type implements [`ReplayBody`]; the body is passed on while it is read, and recorded by reference up to
//! [a limit](RetryLayer::replay_up_to).
//!
//! [`ReplayBody`]: https://docs.rs/towerkit-http/latest/towerkit_http/trait.ReplayBody.html
//!
//! # Retryable results
//!
//! | result | retried |
//! |---|---|
//! | an error by which the request was never sent, such as a refused connection | any request |
//! | any other error of the service | idempotent requests |
//! | HTTP 429, 500, 502, 503, 504 | idempotent requests |
//! | gRPC `UNAVAILABLE`, `RESOURCE_EXHAUSTED`, `DEADLINE_EXCEEDED` in the response headers | idempotent requests |
//! | a rejection by an inner layer, except for a timeout's | never, and no budget is spent |
//! | any other result | never |
//!
//! Over HTTP the method decides if a request is idempotent ([RFC 9110, section 9.2.2]). For gRPC and plain services use
//! [`idempotent`](RetryLayer::idempotent) or [`idempotent_if`](RetryLayer::idempotent_if). [`when`](RetryLayer::when) replaces the
//! table. The layer does not wait for response bodies: a failure after the head is not retried.
//!
//! A failure is returned at once, unchanged, for any [`GiveUpReason`]: the attempts or the [`Budget`] are used up, the delay would
//! exceed the request's [`Deadline`](towerkit_core::Deadline), the upstream asks for no retry or for a longer delay than
//! [`max_pushback`](RetryLayer::max_pushback), or the body is over its limit. A [`RetryReport`] in the extensions of the response has
//! the reason and the failed attempts. So do [events](RetryLayer::events), for plain services as well.
//!
//! [RFC 9110, section 9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
//!
//! # Several tiers
//!
//! Three tiers with three attempts each send 27 requests to the last upstream. Budgets alone limit that to 1.2³.
//!
//! Every attempt but the first carries the header [`RETRY_ATTEMPT`]. With [`unless_retried`](RetryLayer::unless_retried), a request
//! that arrives with this header gets one attempt, and a failure returned after retries carries the header too, so that outer tiers
//! do not retry it. Only the tier next to the failure retries. A server that calls other servers has to copy the header from its
//! request to the requests it makes, and from a response it gets to the response it returns:
//!
//! ```
//! use http::HeaderMap;
//! use towerkit_retry::RETRY_ATTEMPT;
//!
//! fn copy_retry_attempt(from: &HeaderMap, to: &mut HeaderMap) {
//!     if let Some(attempt) = from.get(RETRY_ATTEMPT) {
//!         to.insert(RETRY_ATTEMPT, attempt.clone());
//!     }
//! }
//! # let mut to = HeaderMap::new();
//! # copy_retry_attempt(&HeaderMap::from_iter([(http::HeaderName::from_static(RETRY_ATTEMPT), 1.into())]), &mut to);
//! # assert_eq!(to[RETRY_ATTEMPT], "1");
//! ```
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service. Each retry uses a clone of the service, and waits until that is ready. An error of
//! its readiness ends the call, because a service that failed never becomes ready again.
//!
//! # Cancellation
//!
//! Dropping the response future drops the running attempt or the delay, and no further attempt is made. The budget is not refunded.
//! During the delay, a failed response is read to its end and dropped, so that an HTTP/1 connection can be used again: up to 64 KiB,
//! for at most 100 ms, and without delaying the next attempt.
//!
//! # Clones
//!
//! All services that one layer makes share the budget, the settings and the counts. A [`RetryHandle`] reads and changes them.
//!
//! # Errors
//!
//! The layer returns the last response or error of the inner service unchanged, and adds no errors. Settings out of range are a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Panics
//!
//! The first delay needs a tokio runtime with time enabled ([`tokio::time`]).
//!
//! # Order
//!
//! Put it outside a timeout, so that each attempt has its own time; outside a load balancer, so that each attempt can reach another
//! instance; and outside a circuit breaker, so that each attempt counts. Outer observers see the call, inner observers each attempt.
//!
//! # Coming from go-kit
//!
//! `lb.Retry(max, timeout, balancer)` retries any failure at once (74,753 attempts in 100 ms were measured), and returns the error of
//! the context after its timeout. Here `max` is [`attempts`](RetryLayer::attempts), the timeout is a layer of its own outside of this
//! one, and the callback of `RetryWithCallback` is [`when`](RetryLayer::when). There is a delay and a budget, and the result is the
//! last response of the upstream.

mod backoff;
mod budget;
mod config;
mod delay;
mod future;
mod handle;
mod idempotence;
mod layer;
mod report;
mod retry_state;
mod service;
mod token_bucket;

use towerkit_core::sync;

pub use budget::{Budget, BudgetSnapshot};
pub use future::RetryFuture;
pub use handle::{RetryHandle, RetrySnapshot};
pub use idempotence::{Always, ByProtocol, Idempotence};
pub use layer::RetryLayer;
pub use report::{FailedAttempt, GiveUpReason, RETRY_ATTEMPT, RetryReport};
pub use service::Retry;
