//! Rate limits for tower services: one quota for all callers, one for each key, or one with a queue.
//!
//! Use a rate limit to protect a service from more calls than it can serve, to share it fairly among users, API keys or client
//! addresses, or to keep a client within the quota of an upstream service. Requests over the limit get [429 Too Many
//! Requests](https://www.rfc-editor.org/rfc/rfc6585#section-4) with
//! [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3); a request sent after that time is admitted, unless another
//! one comes first.
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Clock, RejectionReason, Rejection};
//! use towerkit_ratelimit::{Quota, RateLimitLayer};
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (clock, clock_control) = Clock::manual();
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
//! clock_control.advance(Duration::from_millis(100));
//! assert!(service.ready().await?.call("Ann").await.is_ok());
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`). Over gRPC a rejection is
//! [`RESOURCE_EXHAUSTED`](https://grpc.io/docs/guides/status-codes/).
//!
//! # Which limit
//!
//! - [`RateLimitLayer`] has one quota for all callers, and rejects calls over it.
//! - [`KeyedRateLimitLayer`] has a quota for each key, and rejects calls over it. A [`KeyExtractor`] finds the key of a call: a request
//!   header ([`ByHeader`]), text in the request ([`ByText`]), a value that a function computes or, with the feature `http`, the client
//!   address (`ByClientAddress`).
//! - [`DelayingRateLimitLayer`] has one quota for all callers, and lets calls over it wait in a queue.
//!
//! Each of them can charge more than one token for a call ([`cost`](RateLimitLayer::cost)), also when the call has ended
//! ([`cost_at_end`](RateLimitLayer::cost_at_end)), add the headers `RateLimit` and `RateLimit-Policy` to responses
//! ([`headers`](RateLimitLayer::headers)), and change its quota while calls go on ([`handle`](RateLimitLayer::handle)).
//!
//! # Algorithm
//!
//! A [`Quota`] is a rate and a burst. Each bucket is a [token bucket](https://en.wikipedia.org/wiki/Token_bucket), as in
//! [RFC 2697](https://www.rfc-editor.org/rfc/rfc2697): it holds up to `burst` tokens, gains tokens at the rate, and a call takes one. It
//! is computed by the generic cell rate algorithm ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm), ATM Forum Traffic
//! Management 4.1 and [ITU-T I.371](https://www.itu.int/rec/T-REC-I.371), "virtual scheduling"), which stores one time instead of a
//! count and a time. That time is one atomic word: an admitted call takes no lock and allocates no memory, and no task refills the
//! bucket.
//!
//! In every window of time, wherever it begins, at most `burst + rate × window` calls are admitted. A window counter that starts anew
//! each minute admits twice its quota around the turn of the minute.
//!
//! # Keys
//!
//! Clients choose keys, so the memory for keys is fixed: 32 bytes for each key of the
//! [capacity](KeyedRateLimitLayer::capacity), 3.2 MB by default, however many keys come. A key is stored as 59 bits of its hash, with a
//! random seed, so that clients cannot choose keys that share a bucket.
//!
//! A key with a full bucket is in the same state as a new key, and gives its slot to a new key if necessary; a key in use keeps its
//! slot. If all slots that a new key may have are in use, the call takes tokens from a bucket that all such keys share, or is treated as
//! [`when_full`](KeyedRateLimitLayer::when_full) says. A bucket that the key gets later lacks the tokens that it took there, so that
//! every window keeps its bound. The look-up of a key takes no lock; a new key takes one of 64 locks.
//!
//! Keys do not appear in responses, [events](towerkit_core::Event), logs or metrics.
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service. The token is taken in `call`, where the request and its key are known; a service that is
//! ready and never called takes no token.
//!
//! Under a load balancer, a limit that rejects at once attracts calls. [`RateLimitLayer::backpressure`] makes `poll_ready` wait until
//! there is a token.
//!
//! # Cancellation
//!
//! A call that was admitted has used its tokens, also if it is cancelled. A call that is dropped while it waits in the queue returns its
//! tokens, and all calls behind it are admitted earlier.
//!
//! # Clones
//!
//! All services made by one layer, and their clones, share the buckets.
//!
//! # Errors
//!
//! A call over the limit is rejected as [`RateLimited`](towerkit_core::RejectionReason::RateLimited), with the
//! [time after which](towerkit_core::Rejection::retry_after) it would be admitted, exact to the nanosecond. A call that costs more than
//! the burst is rejected as [`InsufficientCapacity`](towerkit_core::RejectionReason::InsufficientCapacity). A setting with which the
//! limit cannot work is a [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! Put the limit inside of logs, metrics and traces, so that they record rejections, and outside of layers that cost more than a token.
//! A limit by user or API key goes inside of authentication. A circuit breaker may be outside or inside, since it does not count
//! rejections as failures. A limit with a queue goes outside of a timeout, so that the wait does not use up the time of the call.
//!
//! # Coming from go-kit
//!
//! `ratelimit.NewErroringLimiter(rate.NewLimiter(r, b))` is `RateLimitLayer::new(Quota::per_second(r)?.burst(b)?)`, and
//! `NewDelayingLimiter` is [`DelayingRateLimitLayer`]. Both reject a call at once if its deadline is earlier than its token. go-kit
//! answers with 500 and `Unknown`, this crate with 429 and `RESOURCE_EXHAUSTED`.

mod atomic_gcra;
mod config;
mod delaying;
mod gcra;
mod guard;
mod handle;
mod headers;
mod keyed;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod macros;
mod quota;
mod token_bucket;

use towerkit_core::sync;

pub use config::{
    AdmittedCall, AnyLimitOptions, CallCost, CallState, CallTier, EndOptions, LimitOptions,
    NeedsEnd, OneTier, OneToken,
};
pub use delaying::{
    AcquireFuture, DelayingRateLimit, DelayingRateLimitHandle, DelayingRateLimitLayer,
    DelayingRateLimitPolicy, DelayingRateLimitSnapshot,
};
pub use guard::RateLimitPolicy;
pub use handle::{RateLimitHandle, RateLimitSnapshot};
pub use keyed::{
    KeyedRateLimit, KeyedRateLimitHandle, KeyedRateLimitLayer, KeyedRateLimitPolicy,
    KeyedRateLimitSnapshot,
};
pub use layer::{RateLimit, RateLimitLayer};
pub use quota::Quota;
#[cfg(feature = "http")]
pub use towerkit_keyed::ByClientAddress;
pub use towerkit_keyed::{ByHeader, ByPrincipal, ByText, KeyExtractor, NoKey, WhenFull};
