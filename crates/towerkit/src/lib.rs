//! Every concept of go-kit as a tower layer.
//!
//! This crate only gathers the others, one feature for each; each of them can be used alone. The feature `full` takes all of them.
//!
//! ```
//! # #[cfg(feature = "full")] {
//! use std::time::Duration;
//! use axum::Router;
//! use axum::routing::get;
//! use towerkit::circuitbreaker::CircuitBreakerLayer;
//! use towerkit::core::stack;
//! use towerkit::http::HttpExt;
//! use towerkit::log::LogLayer;
//! use towerkit::metrics::MetricsLayer;
//! use towerkit::ratelimit::{Quota, RateLimitLayer};
//! use towerkit::timeout::TimeoutLayer;
//!
//! let row = stack((
//!     LogLayer::new(),
//!     MetricsLayer::new(),
//!     RateLimitLayer::new(Quota::per_second(1000)?),
//!     CircuitBreakerLayer::new(),
//! ));
//! let app = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))?.http())
//!     .layer(row.http());
//! # let _: Router = app;
//! # }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "cache")]
pub use towerkit_cache as cache;
#[cfg(feature = "circuitbreaker")]
pub use towerkit_circuitbreaker as circuitbreaker;
#[cfg(feature = "coalesce")]
pub use towerkit_coalesce as coalesce;
#[cfg(feature = "concurrency")]
pub use towerkit_concurrency as concurrency;
pub use towerkit_core as core;
#[cfg(feature = "endpoint")]
pub use towerkit_endpoint as endpoint;
#[cfg(feature = "fallback")]
pub use towerkit_fallback as fallback;
#[cfg(feature = "hedge")]
pub use towerkit_hedge as hedge;
#[cfg(feature = "http")]
pub use towerkit_http as http;
#[cfg(feature = "log")]
pub use towerkit_log as log;
#[cfg(feature = "metrics")]
pub use towerkit_metrics as metrics;
#[cfg(feature = "metrics-push")]
pub use towerkit_metrics_push as metrics_push;
#[cfg(feature = "opentelemetry")]
pub use towerkit_opentelemetry as opentelemetry;
#[cfg(feature = "ratelimit")]
pub use towerkit_ratelimit as ratelimit;
#[cfg(feature = "ratelimit-redis")]
pub use towerkit_ratelimit_redis as ratelimit_redis;
#[cfg(feature = "retry")]
pub use towerkit_retry as retry;
#[cfg(feature = "timeout")]
pub use towerkit_timeout as timeout;
#[cfg(feature = "trace")]
pub use towerkit_trace as trace;
