//! Rate limits for tower services: token buckets for all callers or for each, rejecting or delaying, exact over every window.
//!
//! A call takes a token; where there is none it is rejected at once, with the time after which it would have been admitted. In any
//! window of time, however it is laid, no more calls are admitted than the burst plus what the rate allows for the window. A bucket
//! is one atomic word: no lock, no task, no allocation.
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Clock, RejectionReason, Rejection};
//! use towerkit_ratelimit::{Quota, RateLimitLayer};
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (clock, hand) = Clock::manual();
//! let quota = Quota::per_second(10)?.burst(2)?;
//! let mut service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new(quota).clock(clock))
//!     .service_fn(|name: &'static str| async move { Ok::<_, BoxError>(format!("hello, {name}")) });
//!
//! for _ in 0..2 {
//!     assert_eq!(service.ready().await?.call("Ann").await?, "hello, Ann");
//! }
//! let error = service.ready().await?.call("Ann").await.unwrap_err();
//! let rejection = error.downcast_ref::<Rejection>().unwrap();
//! assert_eq!(rejection.reason(), RejectionReason::RateLimited);
//! assert_eq!(rejection.retry_after(), Some(Duration::from_millis(100)));
//!
//! hand.advance(Duration::from_millis(100));
//! assert!(service.ready().await?.call("Ann").await.is_ok());
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): rejections are then 429 with `Retry-After`, and `RESOURCE_EXHAUSTED` over
//! gRPC.
//!
//! # Which limit
//!
//! - [`RateLimitLayer`]: one bucket for all callers, rejecting.
//! - [`KeyedRateLimitLayer`]: a bucket for each key, rejecting: for each API key, user, tenant or, with the feature `http`, client
//!   address.
//! - [`DelayingRateLimitLayer`]: one bucket for all callers, in which calls wait in line for their tokens.
//!
//! All of them can charge more than a token for a call (`cost`), also once it is over (`cost_at_end`), tell callers how they stand
//! (`fields`), and change their quota while calls go on (`handle`).
//!
//! # Keys
//!
//! Keys come from outside, so the memory for them is of a fixed size: 32 bytes for each key of the
//! [capacity](KeyedRateLimitLayer::capacity), 3.2 MB by default, however many keys come. A key is not kept, only 60 bits of its hash,
//! which is seeded so that nobody can find two keys that share them. A key whose bucket is full again is as good as one that never
//! came, and gives its place to a newcomer; a key in use keeps its place. Where all around are in use, a newcomer takes from a bucket
//! that all such keys share, or is [rejected](Overflow). A bucket that it gets later lacks the tokens that it took there, so that no
//! window holds more calls of a key than its quota allows. A key that is known takes no lock; a newcomer takes one of 64.
//!
//! Keys appear in no answer, event, log or label.
//!
//! # Readiness
//!
//! The token is taken in `call`. A service that is ready but never called has taken none. The key is not known before.
//!
//! Under a load balancer a limit that rejects at once draws the calls. [`RateLimitLayer::backpressure`] makes `poll_ready` wait
//! instead, for as long as there is no token.
//!
//! # Cancellation
//!
//! A call that was admitted has used its tokens, also if it is cancelled. One that gives up while it waits in line gives them back, and
//! all behind it move up.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the buckets.
//!
//! # Errors
//!
//! A rejection is [`RejectionReason::RateLimited`](towerkit_core::RejectionReason::RateLimit) with the wait, to the nanosecond: a call made that much
//! later is admitted, if no other comes first. A call that costs more than the burst is
//! [`RejectionReason::InsufficientCapacity`](towerkit_core::RejectionReason::InsufficientCapacity). A [`Quota`] that makes no sense is an
//! [`InvalidQuota`], any other setting an [`InvalidSetting`].
//!
//! # Order
//!
//! Inside logs, metrics and traces, so that they see the rejections; outside whatever costs more than a token. By user or API key: inside
//! of whatever checks who that is. Outside a circuit breaker or not makes no difference: the breaker knows a rejection from a failure. A
//! limit that delays stands outside of a timeout, so that the wait does not use up the time of the call.
//!
//! # Coming from go-kit
//!
//! `ratelimit.NewErroringLimiter(rate.NewLimiter(r, b))` is `RateLimitLayer::new(Quota::per_second(r)?.burst(b)?)`, and
//! `NewDelayingLimiter` is [`DelayingRateLimitLayer`], whose calls are rejected at once if their deadline comes before their token, as
//! there. go-kit answers 500 and `Unknown`; here the status tells.

mod bucket;
mod delaying;
mod fields;
mod guard;
#[cfg(feature = "http")]
mod http;
mod invalid;
mod keyed;
mod layer;
mod level;
mod macros;
mod meter;
#[cfg(all(test, towerkit_loom))]
mod models;
mod quota;
mod rate;
mod sync;

pub use delaying::{
    Delay, DelayingRateLimit, DelayingRateLimitHandle, DelayingRateLimitLayer,
    DelayingRateLimitPolicy,
};
pub use guard::RateLimitPolicy;
#[cfg(feature = "http")]
pub use http::ByClientAddress;
pub use invalid::InvalidSetting;
pub use keyed::{
    ByClass, ByField, ByKey, ByText, KeyOf, KeyedRateLimit, KeyedRateLimitHandle,
    KeyedRateLimitLayer, KeyedRateLimitPolicy, KeyedSnapshot, Overflow, Tags,
};
pub use layer::{RateLimit, RateLimitHandle, RateLimitLayer};
pub use meter::{After, CallState, Cost, Followed, Meter, One, Taken, Terms};
pub use quota::{InvalidQuota, Quota};
