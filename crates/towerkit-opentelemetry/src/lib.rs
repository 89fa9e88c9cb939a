//! Sends the spans and metrics of towerkit to OTLP collectors and Zipkin, without ever holding up a call.
//!
//! [`SpanPipeline`] begins with one call what takes spans to a receiver: a bounded queue, a thread that sends batches of it within a
//! time limit, and counts of what was lost. `MetricPipeline` does the same for metrics. Each protocol is a feature:
//!
//! | feature | sends | by | to |
//! |---|---|---|---|
//! | `otlp-grpc` | spans, metrics | OTLP over gRPC | the OpenTelemetry collector, Jaeger, Tempo and most vendors |
//! | `otlp-http` | spans, metrics | OTLP over HTTP, as protobuf | the same |
//! | `zipkin` | spans | JSON of Zipkin's API version 2 | Zipkin |
//! | `metrics` | | | `towerkit_metrics` on OpenTelemetry |
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
//! // Nobody listens here, which keeps no call from being answered.
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
//! // At the end of the program, so that the last spans are sent.
//! let limit = Duration::from_millis(100);
//! assert!(spans.shutdown(limit).is_err());
//! assert_eq!(spans.snapshot().lost(), 1);
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # What is lost
//!
//! A span that ends is put into the queue, or dropped if that is full; it never waits. The queue holds 2048 spans by default, the batch
//! that is being sent included, so memory stays bounded however long the receiver is away, silent or stopped. [`SpanExporterHandle::snapshot`] counts
//! each span once: as held, sent, dropped or failed; those that a receiver rejects (OTLP's partial success) have failed. Metrics are
//! sums: what one export could not send is in the next. An export that fails in a way that may pass is tried again three times, within
//! the timeout.
//!
//! # Threads
//!
//! Each pipeline has one thread with a small runtime of its own (metrics have one more, of the SDK). So a program needs no runtime to
//! send, [`SpanExporterHandle::shutdown`] may block a thread of any runtime, and what is sent is itself neither traced nor logged. A process that
//! forks has the pipeline in the parent only, and needs another, which has ids of its own.
//!
//! # Zipkin
//!
//! Spans follow the mapping of the OpenTelemetry specification: kinds, tags, `otel.status_code` and `error`, events as annotations,
//! microseconds of at least 1, trace ids of 32 digits. The local endpoint is the name of the service, the remote one of a client's span
//! its `server.service.name`, `service.peer.name`, `peer.service` or `server.address`. No span is `shared`, since each call has a span
//! of its own. Links have no place there.
//!
//! # Errors
//!
//! What cannot be started is a [`PipelineError`], and nothing panics because there is no runtime. TLS is left to a collector beside the
//! program: an endpoint is of the form `http://host:port`. Fields such as a token come from `OTEL_EXPORTER_OTLP_HEADERS`.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `zipkin.NewTracer(reporter, zipkin.WithLocalEndpoint(..))` | `SpanPipeline::new("shop").zipkin("http://zipkin:9411")` |
//! | `defer reporter.Close()` | [`spans.shutdown(limit)`](Spans::shutdown) |
//! | `metrics/provider` | `MetricsLayer::new().registry(meters.meter())` |

mod batch;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http", feature = "zipkin"))]
mod endpoint;
mod engine;
mod error;
mod ids;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "metrics")]
mod meter_attributes;
#[cfg(feature = "metrics")]
mod meter_names;
#[cfg(feature = "metrics")]
mod meters;
#[cfg(feature = "metrics")]
mod metric_pipeline;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
mod otlp;
#[cfg(feature = "otlp-grpc")]
mod otlp_grpc;
#[cfg(feature = "otlp-http")]
mod otlp_http;
mod pipeline;
mod rejected;
mod report;
mod settings;
mod spans;
mod tally;
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
pub use meters::MetricExporterHandle;
#[cfg(feature = "metrics")]
pub use metric_pipeline::MetricPipeline;
pub use pipeline::SpanPipeline;
pub use report::SpanExporterSnapshot;
pub use spans::SpanExporterHandle;
