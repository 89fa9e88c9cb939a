//! One log event for each call of a tower service, and a subscriber that writes logfmt or JSON.
//!
//! [`LogLayer`] logs every call once through [`tracing`], at its end: over HTTP and gRPC that is the end of the body, whatever the head
//! promised. Any subscriber takes the events. [`subscriber()`] sets one up that writes them, and those of the program, to stderr: each
//! is one line, which no value can break or forge, and in which credentials are redacted. In the long run a call
//! allocates nothing, whether it is logged or not.
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
//! // A program says `.try_init()?` here and is done; it needs no writer.
//! let dispatch = towerkit_log::subscriber(Format::Logfmt).writer(Arc::new(writer)).dispatch();
//! let scope = tracing::dispatcher::set_default(&dispatch);
//!
//! let (clock, hand) = Clock::manual();
//! let service = ServiceBuilder::new()
//!     .layer(LogLayer::new().clock(clock).plain("uppercase"))
//!     .service_fn(|text: &'static str| {
//!         hand.advance(Duration::from_micros(1250));
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
//! The target of the events is `towerkit::call`, and the fields are these, in this order:
//!
//! | field | value | where |
//! |---|---|---|
//! | `message` | `call`, or the [name](LogLayer::name) of the layer | always |
//! | `operation` | route template, gRPC method, or the name given to `.plain(..)` | always |
//! | `method` | HTTP method | HTTP |
//! | `path` | the path that the caller sent, its first 1,024 bytes to a whole segment | HTTP, if no route matched |
//! | `status` | HTTP status, a number | HTTP, if there was a head |
//! | `code` | gRPC code, a number | gRPC, if there was one |
//! | `outcome` | `success`, `client_error`, `failure`, `overloaded`, `timed_out` or `cancelled` ([`Outcome`]) | always |
//! | `latency_ms` | from `call` to the end, in milliseconds with three decimals at most | always |
//! | `bytes` | bytes of the response body that were delivered | HTTP and gRPC |
//! | `cancelled` | `true` | the outcome is `cancelled` |
//! | `panicked` | `true` | the service panicked |
//! | `rejected` | why, such as `rate_limited` ([`RejectionReason`]) | the call was rejected, here or further in |
//! | `deadline_ms` | what was left until the [`Deadline`](towerkit_core::Deadline) when the call began | HTTP and gRPC, if the request carries one |
//! | `client_address` | the address at the other end of the connection | HTTP and gRPC, if the server attaches it |
//! | `request_id` | the header `x-request-id`, its first 128 bytes | HTTP and gRPC, if the request has it |
//! | `trace_id`, `span_id` | the ids of the call ([`TraceIds`](towerkit_core::TraceIds)), in hexadecimal digits | a tracing layer stands outside, in the same policy stack or around it |
//!
//! An application adds fields with [`LogLayer::field`], behind these. Where a proxy stands in front, that is also how `client_address`
//! becomes the client's. The peer is known in axum by `into_make_service_with_connect_info`, and elsewhere by a `PeerAddress` in the
//! extensions. Below `nest_service` the operation is the prefix of the nested service, if the layer stands inside of it.
//!
//! # Levels
//!
//! | end of the call | level |
//! |---|---|
//! | success, client error, cancelled | info |
//! | overloaded, timed out | warn |
//! | failure, panic | error |
//!
//! The caller's mistakes and changes of mind are no trouble of the service, and there may be many. [`LogLayer::level`] chooses
//! otherwise, and a [`LogHandle`] sets the least level while calls run. A call is not kept in mind if, when it starts, no event of the
//! target is enabled.
//!
//! # Lines
//!
//! A line is `ts` (RFC 3339, UTC, microseconds), `level`, `target`, `msg`, then the fields in the order in which they were recorded,
//! and with [`spans`](LogSubscriber::spans) those of the spans around.
//!
//! - Logfmt is spelt as go-logfmt spells it: what it quotes is quoted, what it drops from a key is dropped.
//! - In both formats controls (C0, C1 and DEL, so no escape sequence comes through), line separators and bidirectional controls are
//!   escaped. A reader of the format gets the original back. In bytes that are not UTF-8, U+FFFD stands for what is none.
//! - A second field of one name becomes `name_2`, so that no value can pass for the `level` or the `ts`.
//! - Floats that are no numbers, and integers that do not fit in 64 bits, are text in JSON.
//! - An error is shown with its sources, and a value that panics as `PANIC:` and the message.
//! - Credentials are `REDACTED`, by the names of fields and inside of values: see [`Redaction`].
//! - Long values are cut, and long lines are ended, with a mark: see [`LengthLimits`].
//!
//! # In the background
//!
//! By default a line is one write to stderr, which blocks if nobody reads. [`background`](LogSubscriber::background) puts a queue in
//! between, with a thread that writes many lines at once: then no call waits for a disk or a pipe. What does not fit, or cannot be
//! written, is counted, and the log says so itself once it can. See [`Background`].
//!
//! # Sampling
//!
//! [`LogLayer::sampling`] logs one of N successes and caps what is rejected under overload; failures are always logged. What was left
//! out is counted, and told once a second. See [`Sampling`].
//!
//! # Changes at run time
//!
//! A [`LogHandle`] changes the least level and the sampling of calls; a [`TargetsHandle`] changes what the subscriber lets through, by
//! target. Neither takes a lock on the path of a call.
//!
//! # Terminals and syslog
//!
//! `subscriber(Format::Logfmt).colors(std::io::stderr().is_terminal())` shows levels in colours to people. For a layout over several
//! columns or lines take the layers of `tracing_subscriber::fmt`, which know nothing of credentials, however.
//!
//! A writer is told the level of each line, unless it is in the background: so the system log, through `syslog-tracing`, gets the
//! severity that belongs to it.
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
//! Readiness is the inner service's. A call is timed from `call` on.
//!
//! # Cancellation
//!
//! A call that is dropped, before its head or while its body is read, is logged then, as `cancelled`, with the status of its head if
//! there was one. So is a call that is under way when the runtime is dropped, also after the end of an `async fn main`.
//!
//! # Clones
//!
//! All services that one layer makes, and their clones, share the level, the sampling and the counts of its [`LogHandle`].
//!
//! # Errors
//!
//! [`try_init`](LogSubscriber::try_init) fails if the process has a subscriber. After that nothing fails: a line that cannot be written
//! is lost, and the call goes on. A writer that blocks holds up the call, unless it writes [in the background](crate#in-the-background).
//!
//! # Order
//!
//! Outside of all guards and timeouts, so that rejections and timeouts are logged as the caller sees them; inside traces, so that the
//! span is current. A layer that catches panics stands inside: its 500 is then logged like any other.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr))` | [`subscriber(Format::Logfmt)`](subscriber()) |
//! | `log.NewJSONLogger(w)` | `subscriber(Format::Json).writer(w)`; fields keep their order, and are flat |
//! | `log.With(logger, "ts", log.DefaultTimestampUTC)` | always there |
//! | `level.NewFilter(logger, level.AllowInfo())` | [`level`](LogSubscriber::level), [`targets`](LogSubscriber::targets) |
//! | `log.With(logger, "component", "x")` | a span, and [`spans`](LogSubscriber::spans) |
//! | `logger.LogObserver("msg", "hello", "n", 1)` | `tracing::info!(n = 1, "hello")`; a value cannot be missing |
//! | `log.SwapLogger` | [`TargetsHandle`], and [`LogHandle`] for calls |
//! | `log/term` | [`colors`](LogSubscriber::colors) |
//! | `log/syslog` | [a writer](crate#terminals-and-syslog) |
//! | `log.NewStdlibAdapter` | [`try_init`](LogSubscriber::try_init), for records of the crate `log` |
//! | a logging middleware for each method, with `took` | [`LogLayer`], with `latency_ms` |
//!
//! [`Outcome`]: towerkit_core::Outcome
//! [`RejectionReason`]: towerkit_core::RejectionReason

mod background;
mod caps;
mod decimal;
mod encode;
mod escape;
mod events;
mod filter;
mod json;
mod kept;
mod layer;
mod level;
mod line;
mod lines;
mod logfmt;
mod names;
mod observer;
mod own_field;
mod queue;
mod record;
mod redaction;
mod sampling;
mod secrets;
mod sites;
mod spans;
mod subscriber;
mod timestamp;
mod value;
mod versioned;
mod window;
mod worker;

use towerkit_core::sync;

pub use background::{Background, LogGuard, LogQueue};
pub use caps::LengthLimits;
pub use events::EventLog;
pub use filter::TargetsHandle;
pub use kept::LogCallState;
pub use layer::{Log, LogHandle, LogLayer, LogSnapshot};
pub use level::level_of;
#[doc(hidden)]
pub use lines::line_of;
pub use lines::{Format, LineFormatter};
pub use observer::LogObserver;
pub use redaction::Redaction;
pub use sampling::Sampling;
pub use subscriber::{AlreadyInstalled, LogSubscriber, subscriber};
pub use tracing_subscriber::filter::Targets;
