//! Layers for [tower] services and clients: rate limits, circuit breakers, retries, timeouts, caches, logs, metrics and traces.
//!
//! Every layer fits any `tower::Service`: an axum router, a tonic server or channel, a hyper or reqwest client, or a plain function.
//! The layers share one vocabulary of outcomes and rejections, so that the log, the metrics and the breaker of a stack agree on every
//! call. They cost little: an admitted call takes no lock, and guards, timeouts and metrics do not allocate for it.
//!
//! This crate re-exports the other crates of towerkit, each behind a feature of the same name. Each crate can be used alone.
//!
//! [tower]: https://docs.rs/tower
//!
//! # A stack for axum
//!
//! The policies of a [`stack`](core::stack) run as one middleware: each request is logged and measured, also if a guard rejects it.
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
//!
//! # A client
//!
//! [`http::client`] is a pooled client with TLS. A retry outside of a timeout gives each attempt its own time:
//!
//! ```
//! # #[cfg(feature = "full")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit::http::HttpExt;
//! use towerkit::retry::RetryLayer;
//! use towerkit::timeout::TimeoutLayer;
//!
//! let client = ServiceBuilder::new()
//!     .layer(RetryLayer::new().http_client())
//!     .layer(TimeoutLayer::new(Duration::from_secs(5))?.http_client())
//!     .service(towerkit::http::client::<Full<Bytes>>());
//!
//! # async fn server() -> std::io::Result<String> {
//! #     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! #     let url = format!("http://{}", listener.local_addr()?);
//! #     let app = axum::Router::new().route("/users", axum::routing::put(async |name: String| name));
//! #     tokio::spawn(async { axum::serve(listener, app).await });
//! #     Ok(url)
//! # }
//! # let url = server().await?;
//! let request = Request::put(format!("{url}/users")).body(Full::from("Ann"))?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | module | adds |
//! |---|---|---|
//! | – | [`core`] | [`stack`](core::stack), and the traits for layers of your own |
//! | `http` | [`http`] | `.http()` and `.grpc()` on every layer, problem details, request bodies that can be replayed |
//! | `endpoint` | [`endpoint`] | operations as services, with one request and one error type for all transports; `.rpc()` on every layer |
//! | `transport-http` | [`transport_http`] | endpoints served and called over HTTP, with JSON |
//! | `transport-grpc` | [`transport_grpc`] | endpoints served over gRPC, and clients as endpoints |
//! | `transport-jsonrpc` | [`transport_jsonrpc`] | endpoints served and called over JSON-RPC 2.0 |
//! | `ratelimit` | [`ratelimit`] | limits by token bucket, for all callers or by key |
//! | `ratelimit-redis` | [`ratelimit_redis`] | one limit for many processes, in Redis |
//! | `circuitbreaker` | [`circuitbreaker`] | circuit breakers, also by key |
//! | `concurrency` | [`concurrency`] | limits of calls in flight, fixed or adaptive; bulkheads; load shedding |
//! | `timeout` | [`timeout`] | timeouts, and deadlines that are passed on |
//! | `retry` | [`retry`] | retries with backoff and a budget |
//! | `hedge` | [`hedge`] | a second attempt for slow calls |
//! | `fallback` | [`fallback`] | a response instead of a failure |
//! | `cache` | [`cache`] | responses kept in memory |
//! | `coalesce` | [`coalesce`] | one call for concurrent requests with the same key |
//! | `balance` | [`balance`] | a load balancer over the instances of a service |
//! | `discovery` | [`discovery`] | the instances of a service, and registration |
//! | `discovery-consul`, `-dns`, `-etcd`, `-eureka`, `-kubernetes`, `-zookeeper` | `discovery_consul`, … | registries |
//! | `auth` | [`auth`] | authentication by bearer tokens, API keys and client certificates; permissions by operation |
//! | `auth-jwt` | [`auth_jwt`] | JSON Web Tokens, verified and obtained |
//! | `auth-casbin`, `auth-cedar` | `auth_casbin`, `auth_cedar` | permissions by policies |
//! | `log` | [`log`] | one log event for each call, in logfmt or JSON |
//! | `metrics` | [`metrics`] | counters and histograms, exposed to Prometheus |
//! | `metrics-push` | [`metrics_push`] | metrics pushed to statsd, Graphite or InfluxDB |
//! | `trace` | [`trace`] | distributed traces: W3C Trace Context, B3, Jaeger |
//! | `opentelemetry` | [`opentelemetry`] | spans exported to a collector |
//! | `server` | [`server`] | an HTTP server with limits, health and a graceful shutdown |
//! | `full` | | all of the above and below, but `auth-casbin`, `auth-cedar`, `discovery-etcd`, `-kubernetes` and `-zookeeper` |
//!
//! More features add to these modules:
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | `.axum()`: operations named by axum's route; replay of axum's body |
//! | `client` | [`http::client`]; `.http_client()` and `.grpc_client()`, which read the errors of clients |
//! | `reqwest` | [`http::Reqwest`], the client of reqwest as a service; replay of its body |
//! | `tonic` | replay of tonic's body, for a retry over a `Channel` |
//! | `auth-basic` | [`auth::BasicAuth`], with files of hashed passwords |
//! | `discovery-file`, `discovery-tower` | [`discovery::FileInstances`]; tower's `Discover` both ways |
//! | `circuitbreaker-backpressure` | `.backpressure()` on breakers, for use under a load balancer |
//! | `fast-clock` | [`Clock::fast`](core::Clock::fast) |
//! | `metrics-facade` | metrics recorded through the crate [`metrics`](https://docs.rs/metrics) |
//! | `opentelemetry-metrics` | metrics exported to a collector |
//! | `opentelemetry-otlp-grpc`, `opentelemetry-otlp-http`, `opentelemetry-zipkin` | the protocol of the exporter |
//! | `ratelimit-redis-cluster`, `ratelimit-redis-tls` | Redis Cluster, TLS to Redis |
//! | `transport-http-form`, `transport-http-protobuf`, `transport-http-xml` | codecs beside JSON |
//! | `server-tls`, `server-grpc-health` | TLS with client certificates; `grpc.health.v1` |
//!
//! # Where to read on
//!
//! - [`core`] explains policies and writes one; each module has a complete example, and says how it behaves on readiness,
//!   cancellation and clones.
//! - The guides of the repository tell how to order a stack, tune it, observe it, and write a layer.

#[cfg(feature = "auth")]
pub use towerkit_auth as auth;
#[cfg(feature = "auth-casbin")]
pub use towerkit_auth_casbin as auth_casbin;
#[cfg(feature = "auth-cedar")]
pub use towerkit_auth_cedar as auth_cedar;
#[cfg(feature = "auth-jwt")]
pub use towerkit_auth_jwt as auth_jwt;
#[cfg(feature = "balance")]
pub use towerkit_balance as balance;
#[cfg(feature = "cache")]
pub use towerkit_cache as cache;
#[cfg(feature = "circuitbreaker")]
pub use towerkit_circuitbreaker as circuitbreaker;
#[cfg(feature = "coalesce")]
pub use towerkit_coalesce as coalesce;
#[cfg(feature = "concurrency")]
pub use towerkit_concurrency as concurrency;
pub use towerkit_core as core;
#[cfg(feature = "discovery")]
pub use towerkit_discovery as discovery;
#[cfg(feature = "discovery-consul")]
pub use towerkit_discovery_consul as discovery_consul;
#[cfg(feature = "discovery-dns")]
pub use towerkit_discovery_dns as discovery_dns;
#[cfg(feature = "discovery-etcd")]
pub use towerkit_discovery_etcd as discovery_etcd;
#[cfg(feature = "discovery-eureka")]
pub use towerkit_discovery_eureka as discovery_eureka;
#[cfg(feature = "discovery-kubernetes")]
pub use towerkit_discovery_kubernetes as discovery_kubernetes;
#[cfg(feature = "discovery-zookeeper")]
pub use towerkit_discovery_zookeeper as discovery_zookeeper;
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
#[cfg(feature = "server")]
pub use towerkit_server as server;
#[cfg(feature = "timeout")]
pub use towerkit_timeout as timeout;
#[cfg(feature = "trace")]
pub use towerkit_trace as trace;
#[cfg(feature = "transport-grpc")]
pub use towerkit_transport_grpc as transport_grpc;
#[cfg(feature = "transport-http")]
pub use towerkit_transport_http as transport_http;
#[cfg(feature = "transport-jsonrpc")]
pub use towerkit_transport_jsonrpc as transport_jsonrpc;
