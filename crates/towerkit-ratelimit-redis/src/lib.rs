//! The quota of [`towerkit_ratelimit`] shared by many processes, on Redis.
//!
//! A script on Redis takes tokens from a bucket by the clock of the server: one command, atomic. A process leases tokens ahead, as
//! many as it is about to spend, and gives them to calls without asking: an admitted call costs no round trip as long as its key
//! is busy. The next lease is asked for before the last token is spent, so that no call waits for it.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Call, RejectionReason, Rejection};
//! use towerkit_ratelimit::Quota;
//! use towerkit_ratelimit_redis::{RedisRateLimitLayer, redis::Client};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let quota = Quota::new(1, Duration::from_secs(60))?;
//! // Nobody listens here. So it is this process that keeps the quota, and not all of them together.
//! let redis = Client::open("redis://127.0.0.1:1")?;
//! let mut service = ServiceBuilder::new()
//!     .layer(
//!         RedisRateLimitLayer::new(redis, quota)?
//!             .key(|call: &Call<'_, &'static str>| Some(*call.request))
//!             .prefix("shop:callers"),
//!     )
//!     .service_fn(|name: &'static str| async move { Ok::<_, BoxError>(format!("hello, {name}")) });
//!
//! assert_eq!(service.ready().await?.call("Ann").await?, "hello, Ann");
//! assert_eq!(service.ready().await?.call("Bob").await?, "hello, Bob");
//! let error = service.ready().await?.call("Ann").await.unwrap_err();
//! let rejection = error.downcast_ref::<Rejection>().unwrap();
//! assert_eq!(rejection.reason(), RejectionReason::RateLimited);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Over HTTP add `.http()` (`use towerkit_http::HttpExt`): rejections are then 429 with `Retry-After`, and `RESOURCE_EXHAUSTED` over
//! gRPC. A server that speaks TLS is one whose address begins with `rediss://`, with the feature `tls`, and a Redis Cluster is a
//! `ClusterClient`, with the feature `cluster`. TLS is rustls with ring, which becomes the provider of the process if it has none by
//! then. The server is Redis 5 or later, and its user needs the commands `EVAL`, `EVALSHA`, `GET`, `SET` and `TIME`.
//!
//! # How exact it is
//!
//! Redis counts in whole numbers below 2^53, of which a quota needs `burst × period / gcd(period, 1000 × count)`, with the period in
//! nanoseconds. There nothing is rounded; a quota that needs more is an [`InvalidSetting`].
//! Any burst up to four billion of any whole number of calls a second is exact, for example.
//!
//! A leased token may be spent later than Redis gave it, up to the end of its lease. So, of calls with one key in all processes
//! together (in each of them one layer), a window of time `t` admits no more than
//!
//! - `burst + rate × t + processes × lease size`, and
//! - `burst + rate × (t + lease time)`,
//!
//! whichever is less. In the long run it is the quota alone: no token is made up. Without leases (`lease(1, ..)`, and by default up to
//! a burst of 19) there is one token at a time in each process. Tokens that are not spent before their lease ends are lost; a process
//! leases more than one only for a key that spends them in half that time. A call that asks Redis for a token of its own counts at the
//! moment at which Redis gave it.
//!
//! The bound is for as long as Redis keeps its memory. A bucket that is lost, as when a replica takes over that lagged behind, is full
//! again. If the clock of the server is set back, nothing is made up either; the bucket stands still until the clock has caught up, for
//! no longer than it takes to fill.
//!
//! # While Redis is away
//!
//! Each process keeps the quota by itself, unless [another](RedisRateLimitLayer::fail_open_within) is given, or the limit is to
//! [fail open](RedisRateLimitLayer::fail_open) or [closed](RedisRateLimitLayer::fail_closed). No call waits for longer than the
//! [timeout](RedisRateLimitLayer::timeout), twice if others were faster at what the first answer brought. After three failures in a
//! policy stack nobody asks, but for one call in 25 to 400 ms, at random, on behalf of all; so Redis is found again within half a second
//! of calls. A failure also keeps its key from asking for as long, so that a part of a cluster can be away by itself.
//!
//! A server that answers with `READONLY`, `LOADING`, `MASTERDOWN`, `NOREPLICAS`, `UNBLOCKED`, `NOAUTH`, `WRONGPASS`, `MISCONF`, `OOM`,
//! `NOPERM` or `BUSY` is away as well, in the wording of any version of Redis or Valkey. After the first seven of these the next
//! attempt is made on a new connection, which may reach the server that a failover has chosen.
//!
//! # Tasks
//!
//! No lease is fetched by a task: the calls that need it do that. The `redis` crate spawns one task for each connection, which ends with
//! it, and more for a cluster. The layer needs a tokio runtime with I/O and time.
//!
//! # Readiness
//!
//! The token is taken in `call`. A service that is ready but never called has taken none. A call that waits for Redis gives the
//! readiness of the inner service back first.
//!
//! # Cancellation
//!
//! Calls that wait for the same answer go on when one of them is dropped, and what the answer brings is there for the next call. The
//! token that a call asked for by itself is lost with it. A call that was admitted has used its token, also if it is cancelled.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share leases and connection.
//!
//! # Errors
//!
//! A rejection is [`RateLimited`](towerkit_core::RejectionReason::RateLimited) with the time after which there is a token; until then the key is
//! rejected without asking. While Redis is away a closed limit rejects with [`Unavailable`](towerkit_core::RejectionReason::Unavailable) and the
//! time until it is asked again.
//!
//! # Order
//!
//! As for [`towerkit_ratelimit`]: inside logs, metrics and traces, outside whatever costs more than a token. A limit of this process
//! outside of it keeps a flood from Redis.

#[cfg(all(test, not(towerkit_loom)))]
mod behaviour;
#[cfg_attr(not(feature = "cluster"), path = "no_cluster.rs")]
mod cluster;
mod common;
mod connection;
mod errors;
mod guard;
mod handle;
mod health;
mod invalid;
mod key;
mod keys;
mod layer;
mod lease;
mod limiter;
mod measure;
#[cfg(all(test, not(towerkit_loom)))]
mod memory;
#[cfg(all(test, not(towerkit_loom)))]
mod models;
mod pace;
mod place;
mod redis_store;
mod settings;
mod spare;
mod store;
mod wait;

use towerkit_core::sync;

pub use connection::Redis;
pub use guard::RedisRateLimitPolicy;
pub use handle::{RedisRateLimitHandle, Snapshot};
pub use invalid::InvalidSetting;
pub use key::{KeyOf, OneKey};
pub use layer::{RedisRateLimit, RedisRateLimitLayer};
pub use redis;
pub use settings::Overflow;
pub use wait::RedisWait;
