//! Tower layers for services and clients, each behind a feature.
//!
//! This crate re-exports the other crates of towerkit and adds nothing: each feature is named like its crate, `full` enables all of
//! them, and each crate can be used alone.
//!
//! ```
//! # #[cfg(feature = "full")] {
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! use std::time::Duration;
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit::circuitbreaker::CircuitBreakerLayer;
//! use towerkit::core::stack;
//! use towerkit::http::HttpExt;
//! use towerkit::log::LogLayer;
//! use towerkit::metrics::{MetricsLayer, Registry};
//! use towerkit::ratelimit::{Quota, RateLimitLayer};
//! use towerkit::timeout::TimeoutLayer;
//!
//! let registry = Registry::new();
//! let policies = stack((
//!     LogLayer::new(),
//!     MetricsLayer::new().registry(registry.clone()),
//!     RateLimitLayer::new(Quota::new(1, Duration::from_secs(3600))?),
//!     CircuitBreakerLayer::new(),
//! ));
//! let layers = ServiceBuilder::new()
//!     .layer(policies.axum())
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))?.http());
//! let app = Router::new()
//!     .route("/hello/{name}", get(async || "hello"))
//!     .layer(layers);
//!
//! let hello = || Request::get("/hello/Ann").body(Body::empty());
//! let admitted = app.clone().oneshot(hello()?).await?;
//! assert_eq!(admitted.status(), StatusCode::OK);
//! let rejected = app.oneshot(hello()?).await?;
//! assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
//! // A call ends with the body of its response. Its operation, in the log and in metrics, is axum's route.
//! drop((admitted, rejected));
//! assert!(registry.render().contains(r#"http_route="/hello/{name}""#));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
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
