//! A rate limit for tower services: one token bucket, exact over every window.
//!
//! A call takes a token; where there is none it is refused at once, with the time after which it would have been admitted. In any
//! window of time, however it is laid, no more calls are admitted than the burst plus what the rate allows for the window. The
//! bucket is one atomic word: no lock, no task, no allocation.
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Clock, Reason, Rejection};
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
//! assert_eq!(rejection.reason(), Reason::RateLimited);
//! assert_eq!(rejection.wait(), Some(Duration::from_millis(100)));
//!
//! hand.advance(Duration::from_millis(100));
//! assert!(service.ready().await?.call("Ann").await.is_ok());
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): refusals are then 429 with `Retry-After`, and `RESOURCE_EXHAUSTED` over gRPC.
//!
//! # Readiness
//!
//! The token is taken in `call`. A service that is ready but never called has taken none.
//!
//! # Cancellation
//!
//! A call that was admitted has used its token, also if it is cancelled.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the bucket.
//!
//! # Errors
//!
//! A refusal is [`Reason::RateLimited`](towerkit_core::Reason::RateLimited) with the wait, to the nanosecond: a call made that much
//! later is admitted, if no other comes first. A [`Quota`] that makes no sense is an [`InvalidQuota`].
//!
//! # Order
//!
//! Inside logs, metrics and traces, so that they see the refusals; outside whatever costs more than a token. Outside a circuit
//! breaker or not makes no difference: the breaker knows a refusal from a failure.
//!
//! # Coming from go-kit
//!
//! `ratelimit.NewErroringLimiter(rate.NewLimiter(r, b))` is `RateLimitLayer::new(Quota::per_second(r)?.burst(b)?)`. go-kit answers
//! 500 and `Unknown`; here the status tells.

mod bucket;
mod delay;
mod delayed;
mod delaying_guard;
mod delaying_layer;
mod fields;
mod guard;
#[cfg(feature = "http")]
mod http;
mod invalid;
mod key;
mod keyed;
mod keyed_guard;
mod keyed_handle;
mod keyed_layer;
#[cfg(all(test, not(towerkit_loom)))]
mod keyed_model;
mod keyed_settings;
mod layer;
mod level;
mod line;
#[cfg(all(test, not(towerkit_loom)))]
mod line_model;
mod macros;
mod meter;
#[cfg(all(test, towerkit_loom))]
mod models;
mod overrides;
mod pressure;
mod quota;
mod rate;
mod sync;
mod table;

pub use delay::Delay;
pub use delaying_guard::DelayingRateLimit;
pub use delaying_layer::{DelayingRateLimitHandle, DelayingRateLimitLayer, DelayingRateLimited};
pub use guard::RateLimit;
#[cfg(feature = "http")]
pub use http::ByClientAddress;
pub use invalid::InvalidSetting;
pub use key::{ByClass, ByField, ByKey, ByText, KeyOf, Tags};
pub use keyed_guard::KeyedRateLimit;
pub use keyed_handle::{KeyedRateLimitHandle, KeyedSnapshot};
pub use keyed_layer::{KeyedRateLimitLayer, KeyedRateLimited};
pub use keyed_settings::Overflow;
pub use layer::{RateLimitHandle, RateLimitLayer, RateLimited};
pub use meter::{After, Cost, Followed, Held, Meter, One, Taken, Terms};
pub use quota::{InvalidQuota, Quota};
