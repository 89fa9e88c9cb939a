//! A circuit breaker for tower services, which stops calls to a failing upstream.
//!
//! Use it in front of a database, a peer or an API whose failures would otherwise pile up in your service: callers get an error at once
//! instead of waiting for a timeout, and the upstream gets time to recover instead of more load. A few calls then probe it.
//!
//! A breaker has the three [states](State) of the pattern in Michael Nygard's *Release It!* (2007):
//!
//! - **closed**: it admits all calls and counts their results. Too many failures or slow calls open it.
//! - **open**: it rejects all calls at once, with a hint when to retry.
//! - **half-open**: after the open duration it admits a few calls as probes. Their success closes it, one failure opens it again.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, State};
//! use towerkit_core::{BoxError, Clock, RejectionReason, Rejection};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (clock, clock_control) = Clock::manual();
//! let breaker = CircuitBreakerLayer::new()
//!     .name("shares")
//!     .open_when(OpenWhen::consecutive_failures(2)?)
//!     .open_for(Duration::from_secs(5))?
//!     .clock(clock);
//! let handle = breaker.handle();
//! let mut service = ServiceBuilder::new().layer(breaker).service_fn(|n: u32| async move {
//!     if n > 0 { Ok(100 / n) } else { Err(BoxError::from("no shares")) }
//! });
//!
//! for _ in 0..2 {
//!     assert!(service.ready().await?.call(0).await.is_err());
//! }
//! assert_eq!(handle.state(), State::Open);
//! let error = service.ready().await?.call(4).await.unwrap_err();
//! let rejection = error.downcast_ref::<Rejection>().unwrap();
//! assert_eq!(rejection.reason(), RejectionReason::CircuitOpen);
//! assert_eq!(rejection.retry_after(), Some(Duration::from_secs(5)));
//!
//! clock_control.advance(Duration::from_secs(5));
//! assert_eq!(service.ready().await?.call(4).await?, 25);
//! assert_eq!(handle.state(), State::Closed);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP and gRPC add `.http()` (`use towerkit_http::HttpExt`): rejections are then 503 with [`Retry-After`], and gRPC's
//! `UNAVAILABLE`.
//!
//! # Options
//!
//! | option | by default |
//! |---|---|
//! | [`open_when`](CircuitBreakerLayer::open_when): a number of failures in a row, a rate of failures or of [slow calls](SlowCall) in a [`Window`] over results or over time, or any of these | half of the last 100 results are failures, once there are 20 |
//! | [`open_for`](CircuitBreakerLayer::open_for), [`open_duration`](CircuitBreakerLayer::open_duration): how long it stays open, with exponential backoff and jitter | 10 seconds |
//! | [`probes`](CircuitBreakerLayer::probes): the number of calls that a half-open breaker admits | 1 |
//! | [`count_as`](CircuitBreakerLayer::count_as): which calls are failures | [`CountAs::of`] |
//! | [`name`](CircuitBreakerLayer::name): distinguishes breakers in rejections and [events](towerkit_core::Event::CircuitChanged) | `circuitbreaker` |
//!
//! A [`CircuitBreakerHandle`] shows the state, changes [options](CircuitBreakerOptions) while the breaker runs, and overrides it:
//! forced open, forced closed, disabled or [observing](Mode::Observing). A [`KeyedCircuitBreakerLayer`] has a breaker for each upstream
//! host, tenant or other key.
//!
//! A closed breaker costs a call a few atomic reads: no lock, no clock reading, no allocation, and no write while the window is full of
//! successes. A window over time costs one clock reading and one atomic write, slow calls one more reading, and slow calls that are
//! counted while they are in flight two more writes.
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service, except if the breaker would reject a call: the service is then ready at once and its
//! `call` rejects. Admission happens in `call`, so that a service that is ready but not called holds no probe.
//!
//! Under a load balancer, a breaker that rejects at once looks like an idle instance and attracts calls.
//! `CircuitBreakerLayer::backpressure` (feature `backpressure`) keeps `poll_ready` pending while the breaker would reject.
//!
//! # Cancellation
//!
//! A cancelled call does not count, and a cancelled probe is replaced by the next call. If the head of the response had arrived, the
//! call counts by its head; the head of a gRPC stream has no outcome. A timeout *outside* the breaker therefore hides slow calls from it:
//! place the timeout inside, or count [slow calls](OpenWhen::slow_rate), which includes cancelled calls that ran for too long. Calls that
//! hang count before they end with [`SlowCall::while_in_flight`].
//!
//! A probe that does not end is replaced after [`probe_timeout`](CircuitBreakerLayer::probe_timeout), one minute by default, and its
//! result no longer counts. In general a result counts only if the state has not changed since its call was admitted.
//!
//! # Clones
//!
//! All services that one layer makes, their clones and the handles share one breaker, or one set of breakers by key. Make a layer for
//! each breaker that is to be independent.
//!
//! # Errors
//!
//! A rejection is a [`Rejection`](towerkit_core::Rejection) with [`RejectionReason::CircuitOpen`]. An open breaker adds the rest of
//! its open duration as [`retry_after`](towerkit_core::Rejection::retry_after); the first call after that is a probe. A half-open breaker
//! with all probes in flight, and one that is forced open, add no time. Errors of the inner service pass unchanged. Invalid options are a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! Place the breaker inside a retry, so that each attempt is counted, and outside a timeout for one attempt, so that a timeout counts as
//! a failure. Rejections by an inner rate limit, concurrency limit or breaker are ignored, so that their order is free. Under a load
//! balancer, give each instance a breaker of its own, with backpressure: a single one would reject calls to healthy instances too.
//!
//! # Coming from go-kit
//!
//! `circuitbreaker.Gobreaker` with its defaults is
//! `CircuitBreakerLayer::new().open_when(OpenWhen::consecutive_failures(6)?).open_for(Duration::from_secs(60))?`. `Hystrix` and
//! `HandyBreaker` compute the rate of failures in the last seconds: `OpenWhen::failure_rate(0.5, Duration::from_secs(10), 20)?`. Unlike
//! those, this breaker does not count cancelled calls or rejections by an inner limit. It counts business failures, errors in a
//! successful response, with [`Plain::by_failer`](towerkit_core::Plain::by_failer).
//!
//! [`Retry-After`]: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
//! [`RejectionReason::CircuitOpen`]: towerkit_core::RejectionReason::CircuitOpen

mod breaker_table;
mod call_result;
mod config;
mod count_window;
mod generation;
mod guard;
mod handle;
mod in_flight_calls;
mod keyed;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod open_duration;
mod open_when;
mod state;
mod state_machine;
mod time_window;
mod window_counts;

use towerkit_core::sync::watched as sync;

pub use config::CircuitBreakerOptions;
pub use guard::CircuitBreakerPolicy;
pub use handle::CircuitBreakerHandle;
pub use keyed::{
    KeyedCircuitBreaker, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer,
    KeyedCircuitBreakerPolicy,
};
pub use layer::{CircuitBreaker, CircuitBreakerLayer};
pub use open_duration::OpenDuration;
pub use open_when::{OpenWhen, SlowCall, Window};
pub use state::{CircuitBreakerSnapshot, Mode, State};
pub use towerkit_core::CountAs;
pub use towerkit_keyed::{ByHeader, ByText, KeyExtractor, WhenFull};
