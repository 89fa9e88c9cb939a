//! Logs one event for each call of a tower service, and writes events as logfmt or JSON.
//!
//! Use [`LogLayer`] for an access log with outcomes and latencies: it emits one [`tracing`] event when a call ends, which over HTTP and
//! gRPC is the end of the response body. Any `tracing` subscriber receives the events. Use [`subscriber()`] to write them, and all other
//! events of the program, to stderr: one line per event, with control characters escaped and credentials redacted. After a warm-up a
//! call allocates no memory, logged or not.
//!
//! ```
//! use std::io::{Read, pipe};
//! use std::sync::Arc;
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Clock, LayerExt};
//! use towerkit_log::{Format, LogLayer};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (mut log, writer) = pipe()?;
//! // A program calls `.try_init()?` here and needs no writer.
//! let dispatch = towerkit_log::subscriber(Format::Logfmt).writer(Arc::new(writer)).dispatch();
//! let scope = tracing::dispatcher::set_default(&dispatch);
//!
//! let (clock, clock_control) = Clock::manual();
//! let service = ServiceBuilder::new()
//!     .layer(LogLayer::new().clock(clock).plain("uppercase"))
//!     .service_fn(|text: &'static str| {
//!         clock_control.advance(Duration::from_micros(1250));
//!         async move { Ok::<_, BoxError>(text.to_uppercase()) }
//!     });
//! assert_eq!(service.oneshot("hello").await?, "HELLO");
//!
//! drop((scope, dispatch));
//! let mut line = String::new();
//! log.read_to_string(&mut line)?;
//! let (time, rest) = line.split_once(' ').unwrap();
//! assert!(time.starts_with("ts=20") && time.ends_with('Z'));
//! assert_eq!(
//!     rest,
//!     "level=info target=towerkit::call msg=call operation=uppercase outcome=success latency_ms=1.25\n",
//! );
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Fields
//!
//! The target of the events is `towerkit::call`. Their fields are, in this order:
//!
//! | field | value | present |
//! |---|---|---|
//! | `message` | `call`, or the [name](LogLayer::name) of the layer | always |
//! | `operation` | the route template, the gRPC method, or the name given to [`plain`](towerkit_core::LayerExt::plain) | always |
//! | `method` | the HTTP method | HTTP |
//! | `path` | the path of the request, cut after the last whole segment within 1,024 bytes | HTTP, if no route matched |
//! | `status` | the HTTP [status code](https://www.rfc-editor.org/rfc/rfc9110#section-15), a number | HTTP, if there was a response head |
//! | `code` | the gRPC [status code](https://grpc.io/docs/guides/status-codes/), or the number of the [JSON-RPC error](https://www.jsonrpc.org/specification#error_object) | gRPC, if there was one; JSON-RPC, for an error |
//! | `outcome` | `success`, `client_error`, `failure`, `overloaded`, `timed_out` or `cancelled` ([`Outcome`]) | always |
//! | `latency_ms` | the time from `call` to the end, in milliseconds with up to three decimals | always |
//! | `bytes` | the number of response body bytes that were delivered | HTTP and gRPC |
//! | `cancelled` | `true` | if the outcome is `cancelled` |
//! | `panicked` | `true` | if the service panicked |
//! | `rejected` | the [`RejectionReason`], such as `rate_limited` | if this layer's stack or an inner layer rejected the call |
//! | `deadline_ms` | the time that was left until the [`Deadline`] when the call began | HTTP and gRPC, if the request has a deadline |
//! | `client_address` | the peer address of the connection | HTTP and gRPC, if the server provides it |
//! | `request_id` | the first 128 bytes of the header `x-request-id` | HTTP and gRPC, if the request has the header |
//! | `trace_id`, `span_id` | the [`TraceIds`] of the call in hexadecimal, named as in OpenTelemetry's [log formats] | if a tracing layer is outside this layer |
//!
//! [`LogLayer::field`] appends fields of the application. Behind a proxy, use it to log the client's address in place of the peer's. In
//! axum the peer address comes from `into_make_service_with_connect_info`, in other servers from a `PeerAddress` in the request's
//! extensions. Inside axum's `nest_service`, the operation is the prefix of the nested service.
//!
//! # Levels
//!
//! | end of the call | [`Level`] |
//! |---|---|
//! | success, client error, cancelled | `INFO` |
//! | overloaded, timed out | `WARN` |
//! | failure, panic | `ERROR` |
//!
//! Client errors and cancellations are not faults of the service, and can be frequent. [`LogLayer::level`] chooses other levels, and
//! [`LogHandle::set_level`] changes the least severe level that is logged while calls run. If no event of the target is enabled when a
//! call starts, the layer records no state for that call.
//!
//! # Lines
//!
//! A line consists of `ts` (UTC in [RFC 3339] with microseconds), `level`, `target`, `msg`, and the fields in the order in which they
//! were recorded. With [`spans`](LogSubscriber::spans) the fields of the enclosing spans follow.
//!
//! - Logfmt follows [go-logfmt]: the same values are quoted, and the same characters are removed from keys.
//! - In both formats, control characters (C0, C1 and DEL, which include terminal escape sequences), line separators and bidirectional
//!   controls are escaped. A parser of the format restores the original text. Invalid UTF-8 is replaced by U+FFFD.
//! - If two fields have the same name, the second becomes `name_2`, so that a value cannot imitate `level` or `ts`.
//! - In JSON ([RFC 8259]), floats that are not finite and integers beyond 64 bits are strings.
//! - An error is written with its [sources](std::error::Error::source). A value that panics while it is formatted is written as `PANIC:`
//!   and the panic message.
//! - Credentials are replaced by `REDACTED`, based on field names and on patterns inside values: see [`Redaction`].
//! - Long values are truncated, and fields that do not fit into a line are omitted, with a mark: see [`LengthLimits`].
//!
//! # In the background
//!
//! By default each line is one blocking write to stderr. [`LogSubscriber::background`] adds a bounded queue and a thread that writes
//! many lines at once, so that no call waits for a disk or a pipe. Lines that do not fit into the queue or cannot be written are counted,
//! and the log reports their number. See [`Background`].
//!
//! # Sampling
//!
//! [`LogLayer::sampling`] logs one of every N successes, and limits the rejected calls logged per second; failures are always logged. The
//! layer counts the calls that it leaves out and reports their number once per second. See [`Sampling`].
//!
//! # Changes at run time
//!
//! A [`LogHandle`] changes the level and the sampling of a [`LogLayer`]. A [`TargetsHandle`] changes the [`Targets`] that a subscriber
//! writes. Neither adds a lock to the path of a call.
//!
//! # Terminals and syslog
//!
//! `subscriber(Format::Logfmt).colors(std::io::stderr().is_terminal())` colors the levels for people. For layouts with columns or
//! several lines use the layers of [`tracing_subscriber::fmt`](mod@tracing_subscriber::fmt), which do not redact credentials.
//!
//! A [`MakeWriter`] receives the level of each line, except in the background. With [`syslog-tracing`] each line gets the matching
//! severity in the system log:
//!
//! ```no_run
//! use syslog_tracing::{Facility, Options, Syslog};
//! use towerkit_log::Format;
//!
//! let syslog = Syslog::new(c"shop", Options::default(), Facility::Daemon).ok_or("the system log is open already")?;
//! towerkit_log::subscriber(Format::Logfmt).writer(syslog).try_init()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Readiness
//!
//! `poll_ready` forwards to the inner service. The latency of a call starts at `call`.
//!
//! # Cancellation
//!
//! A call that is dropped, before its response or while its body is read, is logged at that moment with the outcome
//! [`Cancelled`](towerkit_core::Outcome::Cancelled), and with the status of its response head if there was one. Calls that a runtime
//! drops at its end are logged too, even after the end of an `async fn main`.
//!
//! # Clones
//!
//! All services of one [`LogLayer`], and their clones, share the level, the sampling and the counts of its [`LogHandle`].
//!
//! # Errors
//!
//! [`LogSubscriber::try_init`] returns [`AlreadyInstalled`] if the process has a subscriber. Afterwards logging never fails a call: a
//! line that cannot be written is lost. A writer that blocks delays the call, unless it writes [in the
//! background](crate#in-the-background).
//!
//! # Order
//!
//! Place the layer outside all guards and timeouts, so that rejections and timeouts are logged as the caller sees them, and inside
//! tracing layers, so that the span is current. Place a layer that catches panics inside: its 500 responses are logged as failures.
//!
//! # Coming from go-kit
//!
//! | go-kit | towerkit |
//! |---|---|
//! | `log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr))` | [`subscriber(Format::Logfmt)`](subscriber()) |
//! | `log.NewJSONLogger(w)` | [`subscriber(Format::Json).writer(w)`](LogSubscriber::writer); fields are flat and keep their order |
//! | `log.With(logger, "ts", log.DefaultTimestampUTC)` | built in |
//! | `level.NewFilter(logger, level.AllowInfo())` | [`level`](LogSubscriber::level), [`targets`](LogSubscriber::targets) |
//! | `log.With(logger, "component", "x")` | a [span](mod@tracing::span), and [`spans`](LogSubscriber::spans) |
//! | `logger.Log("msg", "hello", "n", 1)` | [`tracing::info!(n = 1, "hello")`](tracing::info); a value cannot be missing |
//! | `log.SwapLogger` | [`TargetsHandle`], and [`LogHandle`] for calls |
//! | `log/term` | [`colors`](LogSubscriber::colors) |
//! | `log/syslog` | [a writer](crate#terminals-and-syslog) |
//! | `log.NewStdlibAdapter` | [`try_init`](LogSubscriber::try_init), which also handles records of the crate `log` |
//! | a logging middleware for each method, with `took` | [`LogLayer`], with `latency_ms` |
//!
//! [`Outcome`]: towerkit_core::Outcome
//! [`RejectionReason`]: towerkit_core::RejectionReason
//! [`Deadline`]: towerkit_core::Deadline
//! [`TraceIds`]: towerkit_core::TraceIds
//! [`Level`]: tracing::Level
//! [`MakeWriter`]: tracing_subscriber::fmt::MakeWriter
//! [`syslog-tracing`]: https://docs.rs/syslog-tracing
//! [log formats]: https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
//! [go-logfmt]: https://github.com/go-logfmt/logfmt
//! [RFC 3339]: https://www.rfc-editor.org/rfc/rfc3339
//! [RFC 8259]: https://www.rfc-editor.org/rfc/rfc8259

mod background;
mod call_state;
mod callsites;
mod config;
mod encode;
mod event_log;
mod filter;
mod formatter;
mod handle;
mod layer;
mod length_limits;
mod line;
mod number;
mod observer;
mod per_second;
mod queue;
mod redaction;
mod sampling;
mod span_fields;
mod subscriber;
mod timestamp;
mod value;
mod visitor;
mod worker;

use towerkit_core::sync;

pub use background::{Background, LogGuard, LogQueue};
pub use call_state::LogCallState;
pub use config::level_of;
pub use encode::Format;
pub use event_log::EventLog;
pub use filter::TargetsHandle;
pub use formatter::LineFormatter;
pub use handle::{LogHandle, LogSnapshot};
pub use layer::{Log, LogLayer};
pub use length_limits::LengthLimits;
#[doc(hidden)]
pub use line::line_of;
pub use observer::LogObserver;
pub use redaction::Redaction;
pub use sampling::Sampling;
pub use subscriber::{AlreadyInstalled, LogSubscriber, subscriber};
pub use tracing_subscriber::filter::Targets;
