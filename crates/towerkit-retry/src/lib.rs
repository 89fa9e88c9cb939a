//! Retries that are safe by default, with a budget.
//!
//! A call whose failure may pass is tried again, three times in all, after a pause that is random and grows. Only what may be sent
//! twice is sent twice, and a budget holds retries down to a share of the calls, so that a callee in trouble is not finished off.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{Empty, Full};
//! use bytes::Bytes;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_http::{HttpExt};
//! use towerkit_retry::{RetryLayer, RetryReport};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let asked = AtomicU32::new(0);
//! let client = ServiceBuilder::new()
//!     .layer(RetryLayer::new().http())
//!     .service_fn(async |_: Request<Empty<Bytes>>| {
//!         let mut response = Response::new(Full::<Bytes>::default());
//!         if asked.fetch_add(1, Relaxed) == 0 {
//!             *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!         }
//!         Ok::<_, std::io::Error>(response)
//!     });
//!
//! let response = client.oneshot(Request::new(Empty::new())).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! let report = response.extensions().get::<RetryReport>().unwrap();
//! assert_eq!(report.failed().len(), 1);
//! # Ok::<_, std::io::Error>(()) }).unwrap();
//! ```
//!
//! Over HTTP the inner service takes requests whose body is a `ReplayBody`: the body is passed on as it is read, and what was read
//! is kept, by reference, up to [a cap](RetryLayer::replay_up_to).
//!
//! # What is retried
//!
//! | result | retried |
//! |---|---|
//! | an error that says that nothing was sent, such as a refused connection | any request |
//! | any other error of the service | an idempotent request |
//! | HTTP 429, 500, 502, 503, 504 | an idempotent request |
//! | gRPC `UNAVAILABLE`, `RESOURCE_EXHAUSTED`, `DEADLINE_EXCEEDED` in the head of the response | an idempotent request |
//! | a rejection by a layer further in, except for a timeout's | never, and no budget is spent on it |
//! | everything else | never |
//!
//! An idempotent request is one with an idempotent method. gRPC and plain services cannot tell: say it by
//! [`idempotent`](RetryLayer::idempotent) or [`idempotent_if`](RetryLayer::idempotent_if). Which results are worth another attempt
//! can be said by [`when`](RetryLayer::when). The response body is not waited for: what fails after its head is not retried.
//!
//! A failure is given back at once, as it is, if the attempts or the [`Budget`] are used up, if the pause would last beyond the
//! request's [`Deadline`](towerkit_core::Deadline), if the callee asks for no retry or for a longer pause than
//! [is waited for](RetryLayer::longest_pushback), and if the body is over the cap. A [`RetryReport`] in the extensions of the response
//! says so, and what came before; so do [events](RetryLayer::events), also over a plain service.
//!
//! # Several tiers
//!
//! Three tiers that each make three attempts send 27 to the callee at the end. Budgets alone make that 1.2³ at most.
//!
//! Every attempt but the first carries the header [`RETRY_ATTEMPT`]. With [`unless_retried`](RetryLayer::unless_retried) a request that
//! comes with it is tried once; and a failure that is given back carries it too, and is not retried by whoever gets it. So only the
//! tier next to the trouble retries. A server that calls others has to pass the header on, from the request it got to those it makes,
//! and from the response it got to the one it gives:
//!
//! ```
//! use http::HeaderMap;
//! use towerkit_retry::RETRY_ATTEMPT;
//!
//! fn pass_on(from: &HeaderMap, to: &mut HeaderMap) {
//!     if let Some(attempt) = from.get(RETRY_ATTEMPT) {
//!         to.insert(RETRY_ATTEMPT, attempt.clone());
//!     }
//! }
//! # let mut to = HeaderMap::new();
//! # pass_on(&HeaderMap::from_iter([(http::HeaderName::from_static(RETRY_ATTEMPT), 1.into())]), &mut to);
//! # assert_eq!(to[RETRY_ATTEMPT], "1");
//! ```
//!
//! # Readiness
//!
//! Is the inner service's. Each further attempt is made on a clone of it, once that is ready. If its readiness fails, which is for
//! good, that error is the result.
//!
//! # Cancellation
//!
//! Dropping the response future drops the running attempt or the pause, and there is no further attempt. What a retry took from the
//! budget is not paid back. A failed response is read to its end and dropped in the pause, as a connection of
//! HTTP/1 is used again only then: up to 64 KiB, for at most 100 ms, and the next attempt does not wait for it.
//!
//! # Clones
//!
//! All services that one layer makes share the budget, the settings and the counts, which a [`RetryHandle`] reads and changes.
//!
//! # Errors
//!
//! The last response or error of the inner service is given back unchanged; this layer has no failures of its own. A setting that
//! makes no sense is an [`InvalidRetry`] or an [`InvalidBudget`].
//!
//! # Panics
//!
//! The first pause needs a tokio runtime with time enabled, as every timer of tokio does.
//!
//! # Order
//!
//! Outside a timeout, so that each attempt has its own time; outside a balancer, so that each attempt may go elsewhere; outside a circuit
//! breaker, so that each attempt counts. Observers outside see the call, observers inside see the attempts.
//!
//! # Coming from go-kit
//!
//! `lb.Retry(max, timeout, balancer)` retries whatever fails, at once (74,753 attempts in 100 ms have been seen), and after its timeout
//! returns the context's error alone. Here `max` is [`attempts`](RetryLayer::attempts), the timeout is a layer of its own outside this
//! one, the callback of `RetryWithCallback` is [`when`](RetryLayer::when), there is a pause and a budget, and what is returned is the
//! last answer that there was.

mod again;
mod backoff;
mod bank;
mod budget;
mod future;
mod idempotence;
mod invalid;
mod layer;
mod pause;
mod policy;
mod report;
mod service;
mod sync;

pub use budget::{Budget, BudgetSnapshot};
pub use future::RetryFuture;
pub use idempotence::{Always, ByProtocol, Idempotence};
pub use invalid::{InvalidBudget, InvalidRetry};
pub use layer::{RetryHandle, RetryLayer, RetrySnapshot};
pub use report::{FailedAttempt, GaveUp, RETRY_ATTEMPT, RetryReport};
pub use service::Retry;
