//! Spans for the calls of tower services, with strict propagation of W3C and B3 contexts.
//!
//! [`TraceLayer`] gives each call a place in a trace: it goes on from the context of its caller, decides whether the trace is recorded,
//! and, if it is, keeps a [`tracing`] span from the call to its end: over HTTP and gRPC that is the end of the body. A call that is not
//! recorded has ids all the same, which its log lines show and its callees go on from, and allocates nothing.
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::BoxError;
//! use towerkit_http::HttpExt;
//! use towerkit_trace::{TraceContext, TraceLayer};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let backend = ServiceBuilder::new()
//!     .layer(TraceLayer::client().http())
//!     .service_fn(|request: Request<String>| async move {
//!         // What goes over the wire.
//!         let sent = request.headers()["traceparent"].to_str()?.to_owned();
//!         Ok::<_, BoxError>(Response::new(sent))
//!     });
//! let front = ServiceBuilder::new()
//!     .layer(TraceLayer::server().http())
//!     .service_fn(move |_request: Request<String>| {
//!         let here = TraceContext::current().unwrap().parent();
//!         assert_eq!(here.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
//!         backend.clone().oneshot(Request::new(String::new()))
//!     });
//!
//! let request = Request::builder()
//!     .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
//!     .body(String::new())?;
//! let response = front.oneshot(request).await?;
//! # let sent = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
//! # let sent = std::str::from_utf8(&sent)?;
//! assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
//! assert!(!sent.contains("00f067aa0ba902b7"), "the call has a span of its own");
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Spans
//!
//! The span of a call is named by its method and route, by its gRPC method, or by the operation of `.plain(..)`; never by a path or a
//! method that a caller made up: an unknown HTTP method is `HTTP`, and a gRPC method that a server answers with `UNIMPLEMENTED` is `grpc`.
//! Names and attributes are those of OpenTelemetry's [semantic conventions] 1.45:
//!
//! | attribute | calls |
//! |---|---|
//! | `http.request.method`, `http.request.method_original` | HTTP; the second where the first is `_OTHER` |
//! | `http.route`, `url.template` | HTTP: of a server, of a client |
//! | `url.scheme`, `url.path`, `url.query` | HTTP, of a server |
//! | `url.full` | HTTP, of a client, if the request has an absolute URL |
//! | `server.address`, `server.port` | HTTP and gRPC, if the request has an authority or a `Host`, or [`authority`](TraceLayer::authority) says it |
//! | `http.request.resend_count` | HTTP and gRPC, of a client behind a retry, from `x-retry-attempt` |
//! | `http.response.status_code` | HTTP, if there was a head |
//! | `http.response.body.size` | HTTP; where [`record_body_size`](TraceLayer::record_body_size) asks for it |
//! | `rpc.system.name`, `rpc.method`, `rpc.status_code` | gRPC; the code may come in trailers |
//! | `rpc.method_original` | gRPC, where `rpc.method` is `_OTHER` |
//! | `http.request.header.<name>`, `rpc.request.header.<name>` | HTTP, gRPC; where `record_headers` asks for it |
//! | `error.type` | calls that failed: the status, the name of the gRPC code, or the outcome, as [`error_type`] says it for metrics as well |
//!
//! A path is cut after 256 bytes, and segments that look like tokens are `REDACTED`; of a query only the names of the parameters are
//! shown, of user information nothing. [`without_url`](TraceLayer::without_url) and [`without_server`](TraceLayer::without_server) leave
//! URLs and servers off. The status of a span is an error if `error.type` is there; its description says that the service panicked, or
//! why a layer rejected the call. On a server a caller's mistake is no error, and neither is a gRPC call that its caller cancels.
//!
//! [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/
//! [`error_type`]: towerkit_core::error_type()
//!
//! # Sampling
//!
//! A trace that begins here is recorded if its [`Sampler`] says so, all by default; [`Sampler::set_ratio`] changes the share while calls
//! run. Where a caller has decided, its decision is followed. It is made before there is a span, so that a trace that is not recorded
//! costs next to nothing; leave the sampler of the SDK as it is, which records what has a recorded parent, and roots.
//!
//! # The edge
//!
//! By default callers are trusted. Where anybody may call, [`untrusted`](TraceLayer::untrusted) begins a trace for each call, linked to
//! that of the caller, and [`remote_sampling_limit`](TraceLayer::remote_sampling_limit) limits how many traces a second are recorded because callers say so.
//!
//! # Propagation
//!
//! [`TraceLayer::propagation`] chooses the formats: W3C trace context by default, B3 in one field or several. What breaks a rule of its
//! format begins a new trace and is never an error; a bad `tracestate` is dropped alone. The debug flag of B3 counts as a decision to
//! record. [`Baggage`] is passed on where a layer says so. A client takes off what a request that is passed on has of other contexts.
//!
//! A task that is spawned takes the context along by [`TraceContext::scope`]; messages carry it by [`inject`] and [`extract`] through a
//! [`Carrier`].
//!
//! # Exporting with OpenTelemetry
//!
//! With the feature `opentelemetry` spans have the parents, links and ids that the OpenTelemetry SDK exports. `towerkit-opentelemetry`
//! sends them to OTLP collectors and Zipkin, and counts the spans that are lost; its documentation shows how.
//!
//! A program that has a pipeline of its own takes the layer that `otel_layer` makes of its tracer.
//!
//! What happens inside a call that is not recorded is not recorded either. Without the feature spans go to whatever subscriber there is,
//! as children of the span that the thread is in.
//!
//! # Readiness
//!
//! Readiness is the inner service's. A span begins with `call`, so that waiting for readiness is not part of it.
//!
//! # Cancellation
//!
//! A call that is dropped, before its head or while its body is read, ends its span as an error of the type `cancelled` (over gRPC on a
//! client only), with the status of its head only if there was one. A future or a body is polled and dropped inside its span.
//!
//! # Clones
//!
//! All services that one layer makes, and clones of the layer, share the sampler and the cap. There is no other state.
//!
//! # Errors
//!
//! Calls never fail because of a trace. Invalid settings are reported as a [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! A server's layer stands outside of all others, so that their log lines, metrics and rejections belong to the span. A client's stands
//! inside of retries and hedges, so that each attempt has a span of its own, and [`TraceLayer::internal`] outside of them, if the call as
//! a whole is to have one.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `opentracing.TraceServer(tracer, "op")`, `zipkin.TraceEndpoint` | `TraceLayer::server().plain("op")` |
//! | `opentracing.TraceClient` | `TraceLayer::client().plain("op")` |
//! | `HTTPToContext`, `ContextToHTTP`, `GRPCToContext`, `ContextToGRPC` | `.http()`, `.grpc()` |
//! | `zipkin.HTTPServerTrace(tracer, zipkin.AllowPropagation(false))` | [`untrusted`](TraceLayer::untrusted) |
//! | `opencensus.WithSampler` | [`sampler`](TraceLayer::sampler) |
//!
//! A span always ends, which that of go-kit's `HTTPToContext` does not.

mod b3;
mod baggage;
mod carrier;
mod context;
mod hex;
mod id;
mod layer;
mod link;
mod observer;
#[cfg(feature = "opentelemetry")]
mod otel;
mod propagation;
#[cfg(feature = "opentelemetry")]
mod recorded;
mod redaction;
mod sampler;
mod span;
mod spare;
mod surge;
mod traceparent;
mod tracestate;
mod url;

pub use baggage::Baggage;
pub use carrier::Carrier;
pub use context::{TraceContext, WithContext};
pub use id::{Flags, SpanId, TraceId};
pub use layer::{Trace, TraceLayer};
pub use observer::{TraceCallState, TraceObserver};
#[cfg(feature = "opentelemetry")]
pub use otel::{SampledOnly, layer as otel_layer, layer_with_events as otel_layer_with_events};
pub use propagation::{Propagation, extract, inject};
pub use sampler::Sampler;
pub use traceparent::{TraceParent, TraceParentField};
pub use tracestate::TraceState;
