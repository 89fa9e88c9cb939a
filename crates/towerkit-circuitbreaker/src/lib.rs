//! A circuit breaker for tower services: it stops calling a service that fails, and tries it again later.
//!
//! A breaker is **closed** while all is well: it admits every call and judges the results. Too many failures or slow calls **open**
//! it: it rejects every call at once, with the time after which it is worth another try. That time over, it is **half-open**: it
//! lets a few calls through as probes. Their success closes it, a failure opens it again. A result counts only if its call was
//! admitted since the last change of state, so that stragglers move nothing.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_circuitbreaker::{CircuitBreakerLayer, State, OpenWhen};
//! use towerkit_core::{BoxError, Clock, RejectionReason, Rejection};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (clock, hand) = Clock::manual();
//! let breaker = CircuitBreakerLayer::new()
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
//! hand.advance(Duration::from_secs(5));
//! assert_eq!(service.ready().await?.call(4).await?, 25);
//! assert_eq!(handle.state(), State::Closed);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): rejections are then 503 with `Retry-After`, and `UNAVAILABLE` over gRPC.
//! What counts as a failure stands at [`CountAs::of`], and [`CircuitBreakerLayer::count_as`] changes it.
//!
//! A [`OpenWhen`] says how many are too many: failures in a row, a share of failures or of slow calls among the last so many results or
//! in the last so much time, or any of several such conditions. An [`OpenDuration`] can grow while the callee stays away. A
//! [`CircuitBreakerHandle`], the handle, shows how a breaker stands, changes its options while it runs, and takes the decision from it:
//! forced open, forced closed, disabled, or observing only. A [`KeyedCircuitBreakerLayer`] has a breaker for each host, tenant, or
//! whatever else a call is about, in bounded memory.
//!
//! A closed breaker costs a call a few atomic reads: no lock, no clock, no allocation, and no write while the window is full of
//! successes. A window of time costs a reading of the clock and one atomic write, slow calls one reading more, and two
//! writes more if they are counted while they hang.
//!
//! # Readiness
//!
//! Admission happens in `call`: a service that is ready but never called holds no probe. A breaker that is open, or half-open with
//! all its probes under way, is ready without asking the inner service, and its `call` rejects. Breakers by key do not know the key
//! there, and ask.
//!
//! Under a load balancer a breaker that rejects at once looks like an idle instance. `CircuitBreakerLayer::backpressure`, with the
//! feature `backpressure`, makes `poll_ready` wait instead, for as long as the breaker would reject.
//!
//! # Cancellation
//!
//! A cancelled call counts for nothing, and a cancelled probe leaves its place to the next call. If the head of the response had
//! come, the head counts, unless it tells nothing, like the head of a gRPC stream. A time-out *outside* a breaker cancels calls and so hides them from it: put it inside, or count slow calls,
//! of which a cancelled call is one if it ran longer than they may. Calls that hang and that nobody cancels are counted while they
//! hang with [`SlowCall::while_in_flight`]. A probe that never ends loses its place after a minute
//! ([`probe_timeout`](CircuitBreakerLayer::probe_timeout)), and its result then counts no more.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the breaker, or the breakers by key; so do its handles. For one breaker
//! each, make a layer each.
//!
//! # Errors
//!
//! A rejection is [`RejectionReason::CircuitOpen`](towerkit_core::RejectionReason::CircuitOpen), with the rest of the open time where there is one: a call
//! made that much later is a probe, if no other comes first. A half-open breaker without a free probe, and one forced open, do not
//! know a time and name none. The inner service's errors pass through unchanged.
//!
//! # Order
//!
//! Inside a retry, so that every attempt asks the breaker. Outside a time-out of one attempt, so that a time-out counts as a failure.
//! A rejection by a limiter or by another breaker further in is not the callee's fault and is ignored, so that their order is free.
//! Inside a balancer, one breaker for each instance, with backpressure: one for all of them would cut off the good with the bad.
//!
//! # Coming from go-kit
//!
//! `circuitbreaker.Gobreaker` with its defaults is
//! `CircuitBreakerLayer::new().open_when(OpenWhen::consecutive_failures(6)?).open_for(Duration::from_secs(60))?`. `Hystrix` and `HandyBreaker` judge
//! by the share of failures in the last seconds: `OpenWhen::failure_rate(0.5, Duration::from_secs(10), 20)?`. Unlike go-kit's, this breaker does
//! not count cancelled calls or rejections by a limiter, and counts a business failure (`Failer`) when asked to, by
//! `Plain::new("operation").by_failer()`.

#[cfg(feature = "backpressure")]
mod backpressure;
mod breaker;
mod bucket;
mod calls;
mod count_as;
mod count_window;
mod counts;
mod epoch;
mod guard;
mod head;
mod in_flight;
mod invalid;
mod keyed;
mod layer;
mod ledger;
mod limit;
mod machine;
mod mark;
mod mode;
#[cfg(all(test, towerkit_loom))]
mod models;
mod open_duration;
mod open_when;
mod options;
mod setters;
mod settings;
mod slow_call;
mod snapshot;
mod state;
mod streak;
mod tally;
mod time_window;
mod window;
mod word;

use towerkit_core::sync::watched as sync;

pub use breaker::CircuitBreakerHandle;
pub use count_as::CountAs;
pub use guard::CircuitBreakerPolicy;
pub use invalid::InvalidSetting;
pub use keyed::{
    Key, KeyedCircuitBreaker, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer,
    KeyedCircuitBreakerPolicy, WhenFull,
};
pub use layer::{CircuitBreaker, CircuitBreakerLayer};
pub use mode::Mode;
pub use open_duration::OpenDuration;
pub use open_when::OpenWhen;
pub use options::CircuitBreakerOptions;
pub use slow_call::SlowCall;
pub use snapshot::CircuitBreakerSnapshot;
pub use state::State;
pub use window::Window;
