//! Metrics of the calls of a tower service: how many, how long, how they ended, how many are active.
//!
//! [`MetricsLayer`] records every call once, at its end: over HTTP and gRPC that is the end of the body, whatever the head promised. A
//! call of a known operation reads the clock twice, takes no lock, and allocates nothing but once for each series and thread. Threads do
//! not share the numbers that they count in, up to eight of them; [`leak`](MetricsLayer::leak) the layer where many threads serve one
//! service, so that they do not share a count of references either. The [`Registry`] keeps the numbers and writes them as Prometheus reads them; with the feature `http` it is a service for the route `/metrics`
//! (`Registry::service`), and with the feature `metrics` the facade of that name can take its place (`Facade`). A [`Fanout`] records in
//! several backends, and a [`RegistrySnapshot`] is for exporters that push.
//!
//! ```
//! use towerkit_core::{BoxError, LayerExt};
//! use towerkit_metrics::{MetricsLayer, Registry};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let registry = Registry::new();
//! let words = registry.counter("words_total", "Words made upper case.", &[])?;
//! let service = ServiceBuilder::new()
//!     .layer(MetricsLayer::new().registry(registry.clone()).plain("uppercase"))
//!     .service_fn(move |text: &'static str| {
//!         words.add(text.split_whitespace().count() as u64);
//!         async move { Ok::<_, BoxError>(text.to_uppercase()) }
//!     });
//!
//! assert_eq!(service.oneshot("hello world").await?, "HELLO WORLD");
//! let text = registry.render();
//! assert!(text.contains("words_total 2\n"));
//! assert!(text.contains(r#"towerkit_call_duration_seconds_count{operation="uppercase",outcome="success"} 1"#));
//! assert!(text.contains(r#"towerkit_calls_active{operation="uppercase"} 0"#));
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Metrics
//!
//! The names are those of OpenTelemetry's semantic conventions 1.45, as Prometheus spells them, where the conventions have one: they
//! have none for active RPCs and for plain calls. The scheme of the URL, which they ask for, is not shown, since a server behind a
//! proxy does not know it; active requests have the route in its place.
//!
//! | calls | metric | labels |
//! |---|---|---|
//! | HTTP | `http_server_request_duration_seconds` | `http_request_method`, `http_route`, `http_response_status_code`, `outcome` |
//! | | `http_server_active_requests` | `http_request_method`, `http_route` |
//! | | `towerkit_http_server_rejected_requests_total` | `http_request_method`, `http_route`, `reason` |
//! | gRPC | `rpc_server_call_duration_seconds` | `rpc_system_name`, `rpc_method`, `rpc_status_code`, `outcome` |
//! | | `towerkit_rpc_server_active_calls` | `rpc_system_name`, `rpc_method` |
//! | | `towerkit_rpc_server_rejected_calls_total` | `rpc_system_name`, `rpc_method`, `reason` |
//! | plain | `towerkit_call_duration_seconds` | `operation`, `outcome` |
//! | | `towerkit_calls_active` | `operation` |
//! | | `towerkit_calls_rejected_total` | `operation`, `reason` |
//! | all | `towerkit_metrics_dropped_total` | `metric` |
//!
//! [`time_to_head`](MetricsLayer::time_to_head) adds `towerkit_http_server_time_to_head_seconds` and its like for gRPC, and
//! [`body_sizes`](MetricsLayer::body_sizes) adds `http_server_request_body_size_bytes`, `http_server_response_body_size_bytes` and
//! `towerkit_rpc_server_response_size_bytes`; each says what it costs.
//!
//! A call is active until its body has ended. What follows another protocol's beginning is no call: an open WebSocket leaves the gauge
//! with its `101 Switching Protocols`, and its duration is that of the handshake.
//!
//! A duration is a histogram; its `_count` is the number of calls, so that there is no counter besides. With
//! [`client`](MetricsLayer::client) the names say `client` for `server`, and `url_template` for `http_route`.
//!
//! `outcome` is one of `success`, `client_error`, `failure`, `overloaded`, `timed_out` and `cancelled` ([`Outcome`]). It stands where the
//! conventions have `error.type`, and on every series, so that a share of errors is one division. A gRPC code is shown by its name. A
//! call that got no status, because it was cancelled, failed or panicked before the head, has an empty one, which to Prometheus is none.
//!
//! A rejected call counts among those that ended, with the status and the outcome that its caller sees, and besides in `…_rejected_…`
//! by the reason ([`RejectionReason`]), which tells the layer: `rate_limited`, `circuit_open`, `overloaded`, `deadline_exceeded`,
//! `unauthenticated`, `forbidden`, `unavailable` or `insufficient_capacity`. The series is there from the first rejection on.
//!
//! What happens inside of policies, such as retries and the changes of circuit breakers, no call tells: give the layers the registry,
//! or [`EventMetrics`] on another backend, as their sink of events.
//!
//! # Exemplars
//!
//! Inside of a layer that traces, a value that is observed in a trace which is recorded becomes the exemplar of its bucket: in the
//! durations of calls, and in any histogram of the registry that is used during a call. The next one takes its place. They are shown in
//! OpenMetrics ([`Registry::render_open_metrics`]), which `Registry::service` writes to whoever asks for it, as Prometheus does (which
//! keeps exemplars with `--enable-feature=exemplar-storage`). A histogram has room for them from the first one on; what is not recorded
//! costs one look.
//!
//! # Series
//!
//! Memory is bounded, whatever callers send:
//!
//! - methods that HTTP does not know are `_OTHER`;
//! - routes are what the protocol names: `unmatched` without a router, and axum's templates by `.axum()`;
//! - a gRPC method has series of its own from the first answer on that shows that the service knows it, any but `UNIMPLEMENTED`; calls
//!   before that are `_OTHER`;
//! - at most 1,000 pairs of method and operation have series of their own ([`max_operations`](MetricsLayer::max_operations)), and each
//!   of them 16 ways to end and one more for each outcome;
//! - a metric of the registry has at most 10,000 series ([`with_max_series`](Registry::with_max_series)).
//!
//! What is more is recorded as `_OTHER`; nothing is lost from the totals.
//!
//! # Readiness
//!
//! Readiness is the inner service's. A call is measured from `call` on, so that waiting for readiness is not part of its duration.
//!
//! # Cancellation
//!
//! A call that is dropped, before its head or while its body is read, counts as `cancelled`, with the status of its head if there was
//! one, and leaves the gauge of active calls. So does a panic, as a `failure`.
//!
//! # Clones
//!
//! All services that one layer makes record into the same series, and so do several layers on one registry. A registry's clones are
//! the same registry.
//!
//! # Errors
//!
//! [`Buckets`] that make no sense are a [`ConfigError`](towerkit_core::ConfigError), and a metric that does not fit is a [`MetricError`] to whoever asks for it by
//! hand. Where the registry rejects a metric to the layer, because its name is taken by something else, calls go on and that metric is
//! missing.
//!
//! # Order
//!
//! Outside of all guards and timeouts, so that rejections and timeouts are counted as the caller sees them; inside logs and traces. Leave
//! the route `/metrics` outside of limits.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `prometheus.NewCounterFrom(opts, labels)` and `.With("method", "count")` | [`registry.counter(name, help, &[("method", "count")])`](Registry::counter), once |
//! | `counter.Add(1)`, `gauge.Set(3)`, `histogram.Observe(0.2)` | [`counter.add(1)`](Counter::add), [`gauge.set(3)`](Gauge::set), [`histogram.observe(0.2)`](Histogram::observe) |
//! | `metrics.NewTimer(h).ObserveDuration()` | [`histogram.observe_nanos(end - start)`](Histogram::observe_nanos), in seconds |
//! | `provider.Provider` | [`Provider`] |
//! | `multi`, `discard` | [`Fanout`] of several backends, or of none |
//! | `generic`, and any backend of your own | [`Registry::snapshot`], which every exporter that pushes can read |
//! | `statsd`, `dogstatsd`, `graphite`, `influx` | the crate `towerkit-metrics-push`; others behind `Facade` |
//! | an instrumenting middleware for each method | [`MetricsLayer`] |
//!
//! A second registration of a name is the same metric and not a panic. Label sets cannot alias (go-kit #1296), their order is of no
//! matter, and a wrong one is an error when the handle is made, not when it is used.
//!
//! [`Outcome`]: towerkit_core::Outcome
//! [`RejectionReason`]: towerkit_core::Reason

mod atomic;
mod buckets;
mod call_kind;
mod config;
mod event_series;
mod events;
mod exemplars;
#[cfg(feature = "metrics")]
mod facade;
mod family;
mod fanout;
mod handle;
#[cfg(feature = "http")]
mod http;
mod instrument;
mod layer;
mod metric_table;
#[cfg(feature = "http")]
mod negotiation;
mod observer;
mod open_metrics;
mod prometheus_text;
mod registry;
mod reserved_names;
mod series;
mod series_table;
mod snapshot;
mod striped;
mod text_writer;

pub use buckets::Buckets;
pub use events::EventMetrics;
#[cfg(feature = "metrics")]
pub use facade::Facade;
pub use fanout::Fanout;
pub use handle::{MetricsHandle, MetricsSnapshot};
#[cfg(feature = "http")]
pub use http::{ScrapeBody, ScrapeService};
pub use instrument::{Counter, Gauge, Histogram, MetricError, Provider};
pub use layer::{Metrics, MetricsLayer};
pub use metric_table::{MetricDescriptor, MetricSource};
pub use observer::{MetricsCallState, MetricsObserver};
pub use registry::Registry;
pub use snapshot::{HistogramSnapshot, MetricFamily, MetricKind, RegistrySnapshot, Sample, Value};
