//! Distributed tracing for [tower] services: one span per call, and strict propagation of W3C and B3 contexts.
//!
//! Use it to see where the time of a call goes over all services that it passes. [`TraceLayer`] continues the caller's trace, or begins a
//! new one, decides whether the trace is sampled, and keeps a [`tracing`] span from the call to its end: over HTTP and gRPC the end of the
//! response body. A call that is not sampled still has ids, which its log lines show and its outgoing calls propagate, and does not
//! allocate.
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
//!         // The context that is sent.
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
//! The name of a span is the method and route, the gRPC method, or the operation of `.plain(..)`; never a path or a method that a caller
//! made up: an unknown HTTP method is `HTTP`, and a gRPC method for which a server returns `UNIMPLEMENTED` is `grpc`. Names and attributes
//! follow OpenTelemetry's [semantic conventions] 1.45:
//!
//! | attribute | calls |
//! |---|---|
//! | `http.request.method`, `http.request.method_original` | HTTP; the second if the first is `_OTHER` |
//! | `http.route`, `url.template` | HTTP: of a server, of a client |
//! | `url.scheme`, `url.path`, `url.query` | HTTP, of a server |
//! | `url.full` | HTTP, of a client, if the request has an absolute URL |
//! | `server.address`, `server.port` | HTTP and gRPC, if the request has an authority or a `Host`, or [`authority`](TraceLayer::authority) is set |
//! | `http.request.resend_count` | HTTP and gRPC, of a client behind a retry, from `x-retry-attempt` |
//! | `http.response.status_code` | HTTP, if there was a response |
//! | `http.response.body.size` | HTTP; with [`record_body_size`](TraceLayer::record_body_size) |
//! | `rpc.system.name`, `rpc.method`, `rpc.status_code` | gRPC; the code may come in trailers |
//! | `rpc.method_original` | gRPC, if `rpc.method` is `_OTHER` |
//! | `http.request.header.<name>`, `rpc.request.header.<name>` | HTTP, gRPC; with `record_headers` |
//! | `error.type` | failed calls: the status, the name of the gRPC code, or the outcome; the same as in metrics ([`error_type`]) |
//!
//! A path is truncated to 256 bytes, and segments that look like tokens are `REDACTED`; of a query only the names of its parameters are
//! recorded, and user information is not. [`without_url`](TraceLayer::without_url) and [`without_server`](TraceLayer::without_server) omit
//! URLs and servers. The status of a span is an error if `error.type` is present; its description names a panic of the service, or the
//! reason of a rejection. On a server, a caller's mistake is not an error, and neither is a gRPC call that its caller cancels.
//!
//! [tower]: https://docs.rs/tower
//! [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/
//! [`error_type`]: towerkit_core::error_type()
//!
//! # Sampling
//!
//! The [`Sampler`] decides about a trace that begins here; by default all are sampled. [`Sampler::set_ratio`] changes the share at run
//! time. If a caller has decided, its decision is followed. The decision is made before a span exists, so that a trace that is not sampled
//! costs almost no time. Keep the default sampler of the OpenTelemetry SDK, which follows the parent and samples roots.
//!
//! # The edge
//!
//! By default callers are trusted. On a public endpoint, [`untrusted`](TraceLayer::untrusted) begins a new trace for each call, with a
//! link to the caller's, and [`remote_sampling_limit`](TraceLayer::remote_sampling_limit) limits the traces per second that are sampled
//! at the request of callers.
//!
//! # Propagation
//!
//! [`TraceLayer::propagation`] selects the [formats](Propagation): [W3C trace context] by default, or [B3] in one header or in several. A
//! malformed context begins a new trace and is never an error; a malformed [`tracestate`](TraceState) is dropped alone. The debug flag of
//! B3 counts as a decision to sample. [`Baggage`] is propagated if a layer enables it. A client removes the context headers of a request
//! that it forwards.
//!
//! A spawned task keeps the context with [`TraceContext::scope`]; messages carry it with [`inject`] and [`extract`] through a
//! [`Carrier`].
//!
//! # Exporting with OpenTelemetry
//!
//! With the feature `opentelemetry` spans have the parents, links and ids that the OpenTelemetry SDK exports. `towerkit-opentelemetry`
//! sends them to OTLP collectors and Zipkin, and counts lost spans. A program with a pipeline of its own uses the layer that `otel_layer`
//! makes of its tracer.
//!
//! Spans inside a call that is not sampled are not sampled either. Without the feature, spans go to the current subscriber, as children
//! of the span that the thread is in.
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service. A span begins with `call`, so it does not include
//! the wait for readiness.
//!
//! # Cancellation
//!
//! A call that is dropped before its response, or while its body is read, ends its span as an error of the type `cancelled` (over gRPC
//! only on a client), with the status of the response if there was one. Futures and bodies are polled and dropped inside their span.
//!
//! # Clones
//!
//! All services of one layer, and clones of the layer, share the sampler and the limit. There is no other state.
//!
//! # Errors
//!
//! A trace never makes a call fail. An invalid setting is a [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Order
//!
//! On a server, put the layer outside of all others, so that their log lines, metrics and rejections belong to the span. On a client, put
//! it inside of retries and hedges, so that each attempt has a span, and [`TraceLayer::internal`] outside of them if the whole call should
//! have one.
//!
//! # Coming from go-kit
//!
//! | go-kit | towerkit |
//! |---|---|
//! | `opentracing.TraceServer(tracer, "op")`, `zipkin.TraceEndpoint` | `TraceLayer::server().plain("op")` |
//! | `opentracing.TraceClient` | `TraceLayer::client().plain("op")` |
//! | `HTTPToContext`, `ContextToHTTP`, `GRPCToContext`, `ContextToGRPC` | `.http()`, `.grpc()` |
//! | `zipkin.HTTPServerTrace(tracer, zipkin.AllowPropagation(false))` | [`untrusted`](TraceLayer::untrusted) |
//! | `opencensus.WithSampler` | [`sampler`](TraceLayer::sampler) |
//!
//! A span always ends; that of go-kit's `HTTPToContext` does not.
//!
//! [W3C trace context]: https://www.w3.org/TR/trace-context-2/
//! [B3]: https://github.com/openzipkin/b3-propagation

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
mod parent;
mod propagation;
mod rate_sampler;
#[cfg(feature = "opentelemetry")]
mod recorded_headers;
mod redaction;
mod sampler;
mod span;
mod traced_call;
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
