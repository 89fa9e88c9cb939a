//! Rate limit for [tower] services with one quota for many processes, stored on [Redis](https://redis.io).
//!
//! Use it when several instances of a service must together stay within a [`Quota`], for example 100 calls a second per API key. For a
//! quota of a single process use [`towerkit_ratelimit`], which needs no server.
//!
//! The token buckets are on Redis: a Lua script takes tokens in one atomic command, by the clock of the server. Each process leases
//! several tokens at once and spends them without asking, so that an admitted call of a busy key costs no round trip. The next lease is
//! requested before the last token is spent.
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
//! // There is no server at this address, so the quota applies to this process alone.
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
//! For HTTP and gRPC add `.http()` (with `use towerkit_http::HttpExt`). Rejected requests then get the status
//! [429](https://www.rfc-editor.org/rfc/rfc6585#section-4) with [`Retry-After`](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3), and
//! over gRPC `RESOURCE_EXHAUSTED`.
//!
//! # Servers
//!
//! The layer works with Redis 5 and later and with Valkey. The user of the connection needs the commands [`EVAL`], [`EVALSHA`], [`GET`],
//! [`SET`] and [`TIME`].
//!
//! - TLS: enable the feature `tls` and use an address that starts with `rediss://`. The TLS library is [rustls](https://docs.rs/rustls)
//!   with ring, which becomes the default provider of the process if there is none yet.
//! - Redis Cluster: enable the feature `cluster` and pass a [`ClusterClient`](redis::cluster::ClusterClient) to
//!   [`RedisRateLimitLayer::new`].
//!
//! # Precision
//!
//! Redis counts in whole numbers up to 2^53 without rounding. A quota needs `burst × period / gcd(period, 1000 × count)`, with the
//! period in nanoseconds, and a quota that needs more is a [`ConfigError`](towerkit_core::ConfigError). For example, every burst up to
//! four billion of every whole number of calls a second is exact.
//!
//! A leased token may be spent later than Redis granted it, until its lease ends. So in any period of length `t` all processes
//! together, with one layer each, admit at most
//!
//! - `burst + rate × t + processes × lease size` calls of a key, and
//! - `burst + rate × (t + lease time)` calls of a key,
//!
//! and over a long time no more than the quota. Tokens that are not spent before their lease ends are lost. A process leases more than
//! one token only of a key that spends them within half the [lease time](RedisRateLimitLayer::lease). With a lease size of 1, which is
//! the default up to a burst of 19, a process holds at most one token of a key.
//!
//! These bounds hold as long as Redis keeps its data. A bucket that is lost is full again, for example after a failover to a replica that
//! lagged behind. If the clock of the server is set back, a bucket does not fill until the clock has caught up, at most for the time in
//! which it fills.
//!
//! # While Redis is unreachable
//!
//! Each process applies the quota by itself. Alternatives are [another quota](RedisRateLimitLayer::fallback_quota), to admit every call
//! ([`fail_open`](RedisRateLimitLayer::fail_open)), or to reject every call ([`fail_closed`](RedisRateLimitLayer::fail_closed)).
//!
//! A call waits for Redis at most for the [timeout](RedisRateLimitLayer::timeout), or twice that time if the lease it waited for was
//! spent by other calls. After three failures in a row calls do not ask Redis, except one call every 25 to 400 ms (exponential backoff
//! with jitter), so that the process finds Redis again within half a second. A failure also keeps its key from asking for the same
//! time, so that a part of a cluster may be unreachable by itself. [`Event::StoreChanged`](towerkit_core::Event::StoreChanged) reports
//! both changes.
//!
//! A server is also unreachable if it answers with one of the error codes `READONLY`, `LOADING`, `MASTERDOWN`, `NOREPLICAS`,
//! `UNBLOCKED`, `NOAUTH`, `WRONGPASS`, `MISCONF`, `OOM`, `NOPERM` or `BUSY`. After the first seven the layer opens a new connection,
//! which may reach the server that a failover has promoted.
//!
//! # Tasks
//!
//! The layer spawns no task: calls drive the requests that they wait for. The [`redis`] crate spawns a task for each connection, and more
//! for a cluster. The layer needs a [tokio runtime](tokio::runtime::Runtime) with I/O and time enabled.
//!
//! # Readiness
//!
//! [`poll_ready`] forwards to the inner service, and [`call`] takes the token. A call that waits for Redis first gives up the readiness of
//! the inner service and waits for it again afterwards.
//!
//! # Cancellation
//!
//! A dropped call leaves the shared request of its key to the other calls that wait, and the tokens of the answer to the next call. The
//! token that a call requested for itself is lost. A call that was admitted has spent its token, also if it is dropped.
//!
//! # Clones
//!
//! All services of one layer, and their clones, share the leases and the connection.
//!
//! # Errors
//!
//! A call over the quota is rejected as [`RateLimited`](towerkit_core::RejectionReason::RateLimited) with the
//! [time](towerkit_core::Rejection::retry_after) until the next token. Until then further calls of the key are rejected without asking
//! Redis.
//!
//! A call is rejected as [`Unavailable`](towerkit_core::RejectionReason::Unavailable) while Redis is unreachable and the limit fails
//! closed, with the time until Redis is asked again, and as [`Overloaded`](towerkit_core::RejectionReason::Overloaded) if its key finds no
//! slot and the layer has [`WhenFull::Reject`].
//!
//! # Order
//!
//! As for [`towerkit_ratelimit`]: inside logs, metrics and traces, and outside of all layers that cost more than a token. A rate limit of
//! the process, outside of this one, protects Redis from a flood of calls.
//!
//! # Coming from go-kit
//!
//! go-kit's `ratelimit` package limits a single process. There is no counterpart to this crate.
//!
//! [tower]: https://docs.rs/tower
//! [`Quota`]: towerkit_ratelimit::Quota
//! [`EVAL`]: https://redis.io/docs/latest/commands/eval/
//! [`EVALSHA`]: https://redis.io/docs/latest/commands/evalsha/
//! [`GET`]: https://redis.io/docs/latest/commands/get/
//! [`SET`]: https://redis.io/docs/latest/commands/set/
//! [`TIME`]: https://redis.io/docs/latest/commands/time/
//! [`poll_ready`]: https://docs.rs/tower/latest/tower/trait.Service.html#tymethod.poll_ready
//! [`call`]: https://docs.rs/tower/latest/tower/trait.Service.html#tymethod.call

#[cfg(all(test, not(towerkit_loom)))]
mod behaviour;
#[cfg_attr(not(feature = "cluster"), path = "no_cluster.rs")]
mod cluster;
mod config;
mod connection;
mod errors;
mod future;
mod guard;
mod handle;
mod health;
mod key_slot;
mod key_slots;
mod layer;
mod lease;
#[cfg(all(test, not(towerkit_loom)))]
mod lease_model;
mod lease_sizer;
mod limiter;
mod local_bucket;
#[cfg(all(test, not(towerkit_loom)))]
mod memory_store;
mod redis_store;
mod script_quota;
mod shared_future;
mod store;

use towerkit_core::sync;

pub use connection::Redis;
pub use future::RedisWait;
pub use guard::RedisRateLimitPolicy;
pub use handle::{RedisRateLimitHandle, RedisRateLimitSnapshot};
pub use layer::{RedisRateLimit, RedisRateLimitLayer};
pub use redis;
pub use towerkit_keyed::{ByHeader, ByPrincipal, ByText, KeyExtractor, NoKey, WhenFull};
