//! Counts and times the calls of a tower service, for Prometheus and other metrics backends.
//!
//! Use [`MetricsLayer`] to know the rate, the errors, the duration and the number in flight of each operation. It records a call once, at
//! its end, which over HTTP and gRPC is the end of the response body. A call of a known operation reads the clock twice, takes no lock
//! and allocates no memory. The [`Registry`] keeps the series and writes them for Prometheus; its `Registry::service` (feature
//! `http`) answers `GET /metrics`. `Facade` (feature `metrics`) records in the [`metrics`] crate instead, a [`Fanout`] records in several
//! backends, and exporters that push read a [`RegistrySnapshot`].
//!
//! [`metrics`]: https://docs.rs/metrics
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
//! Names follow OpenTelemetry's semantic conventions 1.45 for [HTTP] and [gRPC], in the notation of Prometheus. The conventions define no
//! metrics for RPCs in flight and for plain calls; those have the prefix `towerkit_`. The label for the scheme of the URL is omitted,
//! because a server behind a proxy does not know it. [`MetricDescriptor::all`] lists every metric of this crate.
//!
//! [HTTP]: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
//! [gRPC]: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
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
//! - A duration is a histogram, and its `_count` is the number of calls, so there is no separate counter.
//! - [`MetricsLayer::client`] names the metrics `http_client_…` and `rpc_client_…`, with the label `url_template` for `http_route`.
//! - [`MetricsLayer::time_to_head`] adds the time until the response head, and [`MetricsLayer::body_sizes`] the sizes of bodies.
//! - `outcome` is an [`Outcome`]: `success`, `client_error`, `failure`, `overloaded`, `timed_out` or `cancelled`. It replaces the `error.type`
//!   of the conventions and is on every series, so the share of errors is one division.
//! - A gRPC code is shown by its [name](https://grpc.io/docs/guides/status-codes/). A call that ended without a status, because it was
//!   cancelled, failed or panicked before the head, has an empty label, which Prometheus treats as missing.
//! - A rejected call is counted as ended, with the status and the outcome that its caller sees. It is also counted in `…_rejected_…_total` by
//!   its [`RejectionReason`], which identifies the layer, for example `rate_limited` or `circuit_open`. That series appears with the first
//!   rejection.
//! - A call is active until its body has ended. An upgraded connection is not a call: a WebSocket leaves the gauge at its
//!   [`101 Switching Protocols`][101], and its duration is that of the handshake.
//!
//! [101]: https://www.rfc-editor.org/rfc/rfc9110#name-101-switching-protocols
//!
//! Retries, circuit transitions and other events inside of policies are not visible in a call: pass the [`Registry`], or [`EventMetrics`]
//! for another backend, to the `.events(..)` of those layers.
//!
//! # Exemplars
//!
//! A value that is observed in a sampled trace becomes the [exemplar] of its bucket. This holds for the durations of calls inside of a
//! tracing layer, and for any [`Histogram`] of the registry that is used during a call. Each bucket keeps its latest exemplar.
//! [`Registry::render_open_metrics`] shows them, as does `Registry::service` for scrapers that accept [OpenMetrics], such as Prometheus,
//! which stores them with `--enable-feature=exemplar-storage`.
//!
//! [exemplar]: https://prometheus.io/docs/concepts/data_model/
//! [OpenMetrics]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
//!
//! # Cardinality
//!
//! Memory is bounded, whatever requests contain:
//!
//! - unknown HTTP methods are recorded as `_OTHER`;
//! - the route is the template that the protocol reports: `unmatched` without a router, the template of the router with `.axum()`;
//! - a gRPC method gets series of its own with the first response that shows that the service implements it, that is, any code except
//!   `UNIMPLEMENTED`; earlier calls are recorded as `_OTHER`;
//! - at most 1,000 pairs of method and operation get series of their own ([`max_operations`](MetricsLayer::max_operations)), each with 16
//!   pairs of status and outcome, and one more series per outcome;
//! - a metric of the registry has at most 10,000 series ([`with_max_series`](Registry::with_max_series)).
//!
//! Values beyond these limits are recorded as `_OTHER`, so totals stay exact.
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service. A call is measured from [`Service::call`](https://docs.rs/tower/latest/tower/trait.Service.html#tymethod.call), so its duration excludes the
//! time until the service was ready.
//!
//! # Cancellation
//!
//! A call that is dropped before its head, or while its body is read, is counted as `cancelled`, with the status of its head if there was
//! one, and leaves the gauge of active calls. A panic is counted as a `failure`.
//!
//! # Clones
//!
//! All services of a layer record in the same series, and so do all layers with the same registry. Clones of a [`Registry`] share it.
//!
//! If many threads serve one service, [`leak`](MetricsLayer::leak) the layer, so that they do not contend for a reference count.
//!
//! # Errors
//!
//! Invalid [`Buckets`] are a [`ConfigError`](towerkit_core::ConfigError). A [`Provider`] returns a [`MetricError`] for a metric that it cannot
//! resolve, for example because its name is taken. If that happens to the layer, calls continue and the metric is missing.
//!
//! # Order
//!
//! Place the layer outside of guards and timeouts, so that rejections and timeouts are counted as the caller sees them, and inside of log and
//! trace. Exempt the route `/metrics` from limits.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `prometheus.NewCounterFrom(opts, labels)` and `.With("method", "count")` | [`registry.counter(name, help, &[("method", "count")])`](Registry::counter), once |
//! | `counter.Add(1)`, `gauge.Set(3)`, `histogram.Observe(0.2)` | [`counter.add(1)`](Counter::add), [`gauge.set(3)`](Gauge::set), [`histogram.observe(0.2)`](Histogram::observe) |
//! | `metrics.NewTimer(h).ObserveDuration()` | [`histogram.observe_nanos(end - start)`](Histogram::observe_nanos), in seconds |
//! | `provider.Provider` | [`Provider`] |
//! | `multi`, `discard` | [`Fanout`] with several backends, or with an empty list |
//! | `generic`, and custom backends | [`Registry::snapshot`], which any exporter can read |
//! | `statsd`, `dogstatsd`, `graphite`, `influx` | the crate `towerkit-metrics-push`; other backends with `Facade` |
//! | an instrumenting middleware for each method | [`MetricsLayer`] |
//!
//! A second registration of a name returns the same metric instead of a panic. Label sets cannot alias (go-kit [#1296]), their order does not
//! matter, and invalid labels are an error when the instrument is resolved, not when it is used.
//!
//! [#1296]: https://github.com/go-kit/kit/issues/1296
//! [`Outcome`]: towerkit_core::Outcome
//! [`RejectionReason`]: towerkit_core::RejectionReason

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
mod with_labels;

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
pub use with_labels::WithLabels;
