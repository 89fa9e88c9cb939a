//! Sends the spans and metrics of a service to OTLP collectors and Zipkin, without delaying a call.
//!
//! Use [`SpanPipeline`] to export the spans of [`towerkit_trace`], and `MetricPipeline` to push the metrics of `towerkit-metrics` instead of
//! serving them to Prometheus. One call starts a pipeline: it has a bounded queue, a thread that exports batches within a time limit, and counts of the
//! lost spans. Each protocol is a feature:
//!
//! | feature | sends | protocol | receivers |
//! |---|---|---|---|
//! | `otlp-grpc` | spans, metrics | [OTLP] over gRPC | the OpenTelemetry [collector], Jaeger, Tempo and most vendors |
//! | `otlp-http` | spans, metrics | [OTLP] over HTTP, as protobuf | the same |
//! | `zipkin` | spans | JSON of the [Zipkin API], version 2 | Zipkin |
//! | `metrics` | | | records `towerkit_metrics` with OpenTelemetry |
//!
//! [OTLP]: https://opentelemetry.io/docs/specs/otlp/
//! [collector]: https://opentelemetry.io/docs/collector/
//! [Zipkin API]: https://zipkin.io/zipkin-api/
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, LayerExt};
//! use towerkit_opentelemetry::SpanPipeline;
//! use towerkit_trace::TraceLayer;
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! # #[cfg(feature = "otlp-grpc")]
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! // No collector listens at this address, and calls are answered all the same.
//! let spans = SpanPipeline::new("shop").otlp_grpc("http://127.0.0.1:1")?;
//! let subscriber = tracing_subscriber::registry().with(spans.layer());
//! # let _default = tracing::subscriber::set_default(subscriber);
//! # /*
//! tracing::subscriber::set_global_default(subscriber)?;
//! # */
//!
//! let service = ServiceBuilder::new()
//!     .layer(TraceLayer::server().plain("uppercase"))
//!     .service_fn(async |text: &str| Ok::<_, BoxError>(text.to_uppercase()));
//! assert_eq!(service.oneshot("hello").await?, "HELLO");
//!
//! // At the end of the program, to send the last spans.
//! let limit = Duration::from_millis(100);
//! assert!(spans.shutdown(limit).is_err());
//! assert_eq!(spans.snapshot().lost(), 1);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Lost telemetry
//!
//! A span that ends never waits: it is queued, or dropped if the queue is full. The queue holds 2048 spans by default, including the batch
//! that is being sent, so memory stays bounded while the receiver is down or slow. [`SpanExporterHandle::snapshot`] counts each span once, as
//! held, sent, dropped or failed; spans that a receiver rejects (the [partial success] of OTLP) have failed. Metrics are cumulative, so the
//! next export includes those of a failed one. An OTLP export with a transient failure is [retried] three times within the timeout.
//!
//! [partial success]: https://opentelemetry.io/docs/specs/otlp/#partial-success
//! [retried]: https://opentelemetry.io/docs/specs/otlp/#failures
//!
//! # Threads
//!
//! Each pipeline has a thread with a small tokio runtime; a pipeline of metrics has another thread, started by the SDK. A program therefore
//! needs no runtime to export, and [`SpanExporterHandle::shutdown`] may block a thread of any runtime. Exports are neither traced nor
//! logged. After a fork, the pipeline runs in the parent process only; a child process needs its own, which has different ids.
//!
//! # Zipkin
//!
//! Spans follow the [mapping] of the OpenTelemetry specification: kinds, tags, `otel.status_code` and `error`, events as annotations,
//! durations of at least 1 µs, trace ids of 32 digits. The local endpoint is the name of the service. The remote endpoint of a client's span is
//! its `server.service.name`, `service.peer.name`, `peer.service` or `server.address`. Spans are never `shared`, because each call has its
//! own, and links are omitted, because Zipkin has no field for them.
//!
//! [mapping]: https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/
//!
//! # Errors
//!
//! A pipeline that cannot start returns a [`PipelineError`]; a missing runtime is not a reason to panic. An endpoint has the form
//! `http://host:port`: TLS is left to a collector on the same machine. Request headers, such as a token, come from the variable
//! [`OTEL_EXPORTER_OTLP_HEADERS`]. A flush or a shutdown that did not send everything returns a [`FlushError`].
//!
//! [`OTEL_EXPORTER_OTLP_HEADERS`]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/#configuration-options
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `zipkin.NewTracer(reporter, zipkin.WithLocalEndpoint(..))` | `SpanPipeline::new("shop").zipkin("http://zipkin:9411")` |
//! | `defer reporter.Close()` | [`spans.shutdown(limit)`](SpanExporterHandle::shutdown) |
//! | `metrics/provider` | `MetricsLayer::new().registry(meters.meter())` |

mod config;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http", feature = "zipkin"))]
mod endpoint;
mod error;
mod id_generator;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "metrics")]
mod meter_attributes;
#[cfg(feature = "metrics")]
mod meter_names;
#[cfg(feature = "metrics")]
mod metric_handle;
#[cfg(feature = "metrics")]
mod metric_pipeline;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
mod otlp;
#[cfg(feature = "otlp-grpc")]
mod otlp_grpc;
#[cfg(feature = "otlp-http")]
mod otlp_http;
mod processor;
mod runtime;
mod span_counts;
mod span_handle;
mod span_pipeline;
mod span_snapshot;
mod worker;
#[cfg(feature = "zipkin")]
mod zipkin;
#[cfg(feature = "zipkin")]
mod zipkin_json;

pub use opentelemetry;
pub use opentelemetry_sdk;

pub use error::{FlushError, PipelineError};
#[cfg(feature = "metrics")]
pub use meter::OtelMeter;
#[cfg(feature = "metrics")]
pub use metric_handle::MetricExporterHandle;
#[cfg(feature = "metrics")]
pub use metric_pipeline::MetricPipeline;
pub use span_handle::SpanExporterHandle;
pub use span_pipeline::SpanPipeline;
pub use span_snapshot::SpanExporterSnapshot;
