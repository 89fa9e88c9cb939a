//! go-kit's string service on towerkit: a whole service in three layers, read from the inside out.
//!
//! - **Service** (`service.rs`): the business logic, a plain trait. It knows no tower and no HTTP.
//! - **Endpoint** (`endpoint.rs`): each operation as a tower service, which a test calls without a socket.
//! - **Transport** (`http.rs`): decode, endpoint, encode.
//!
//! `app.rs` puts the server stack around them, `telemetry.rs` says where log lines and spans go, `server.rs` listens and drains, and
//! `args.rs` has the flags.
//!
//! ```sh
//! cargo run -p stringsvc
//! curl -XPOST -d'{"s":"hello, world"}' localhost:8080/uppercase   # {"v":"HELLO, WORLD"}
//! curl -XPOST -d'{"s":"hello, world"}' localhost:8080/count       # {"v":12}
//! curl localhost:8080/metrics
//! ```
//!
//! Flags, and their twins in the environment, are in `--help`. The log goes to stderr, and with `--otlp http://127.0.0.1:4317` spans go to
//! a collector; neither holds up a call, whoever reads. SIGTERM or SIGINT ends the service: it takes no
//! new connections, lets the calls in flight end for as long as `--drain` says, and exits with 0. A flag that makes no sense exits with
//! 2, an address that cannot be listened on with 1.
//!
//! # The stack
//!
//! Outermost first; only `/metrics` and `/healthz` stand outside of it.
//!
//! | layer | from | what it does |
//! |---|---|---|
//! | request id | tower-http | takes `x-request-id` or makes one, and gives it back |
//! | trace, log, metrics, rate limit | towerkit, one policy stack | a place in the caller's trace, one line and one measurement for each call, rejected ones too; 429 over the rate |
//! | timeout | towerkit | 504 for a call that takes too long, reading the body included |
//! | catch panic | tower-http | 500 for a handler that panics; inside, so that its call has an id, a line and a measurement |
//! | routes | axum | 404, 405 with `Allow`, and the endpoints |
//!
//! The limit of the body stands where the body is read, in `http.rs`: as a layer it would cost each call two more boxes.
//!
//! # Answers
//!
//! | call | answer |
//! |---|---|
//! | a good one | 200 `{"v":…}` |
//! | `/uppercase` of an empty string | 200 `{"v":"","err":"empty string"}` |
//! | malformed JSON, JSON of another shape | 400 |
//! | unknown path, wrong verb | 404, 405 with `Allow` |
//! | body over 1 MiB | 413; unread if its length is declared |
//! | over the rate | 429 with `Retry-After` |
//! | handler panics, response cannot be encoded | 500 |
//! | no answer in time | 504 |
//!
//! All errors are problem details (RFC 9457) that say nothing of the inside. The content type of a request is not looked at, because
//! `curl -d` says that it sends a form.
//!
//! A call has a trace id, which its log line shows: that of the caller's `traceparent`, or one of its own. If the trace is recorded, the
//! bucket of the histogram that the call fell into shows it as an exemplar to who scrapes `/metrics` as OpenMetrics.
//!
//! The empty string is a *business* error: to HTTP the call went well, so log and metrics show status 200 and the outcome `success`.
//! Where it should count as a failure, implement `towerkit::core::Failer` for the response and put a policy stack around the endpoint, with
//! `Plain::new("uppercase").by_failer()` as its protocol; where callers should see a 4xx, let `http.rs` encode it as a problem.
//!
//! # Coming from go-kit
//!
//! This is stringsvc2: its logging and instrumenting middlewares, written by hand for each operation, are two layers here. It differs
//! where go-kit answered malformed JSON with 500, took any verb, and could not be stopped gently.

mod app;
mod args;
mod endpoint;
mod http;
mod request_id;
mod server;
mod service;
mod signals;
mod telemetry;

pub use app::app;
pub use args::Args;
pub use args::LogFormat;
pub use endpoint::CountResponse;
pub use endpoint::Endpoint;
pub use endpoint::StringRequest;
pub use endpoint::UppercaseResponse;
pub use endpoint::count;
pub use endpoint::uppercase;
pub use http::MAX_BODY;
pub use http::routes;
pub use server::serve;
pub use service::EmptyString;
pub use service::StringService;
pub use service::Strings;
pub use telemetry::Telemetry;
