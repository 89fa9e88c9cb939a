//! go-kit's string service on towerkit: a whole service in three layers, to be read from the inside out.
//!
//! - **Service** (`service.rs`): the business logic, a plain trait. It knows no tower and no HTTP.
//! - **Endpoint** (`endpoint.rs`): each operation as a tower service, which a test calls without a socket.
//! - **Transport** (`http.rs`): the endpoints served over HTTP.
//!
//! `app.rs` puts the layers around them, `server.rs` has the server, `telemetry.rs` the log and the spans, and `args.rs` the flags.
//!
//! ```sh
//! cargo run -p stringsvc
//! curl -XPOST -d'{"s":"hello, world"}' localhost:8080/uppercase   # {"v":"HELLO, WORLD"}
//! curl -XPOST -d'{"s":"hello, world"}' localhost:8080/count       # {"v":12}
//! curl localhost:8080/metrics
//! ```
//!
//! `--help` lists the flags, each with a variable of the environment. The log goes to stderr, and with
//! `--otlp http://127.0.0.1:4317` spans go to a collector; neither delays a call. SIGTERM or SIGINT ends the service: it takes no new
//! connections, gives the calls in flight the time of `--drain`, and exits with 0. An invalid flag exits with 2, an address that cannot
//! be listened on with 1.
//!
//! # The layers
//!
//! Outermost first; `/metrics` and `/healthz` are outside of them.
//!
//! | layer | from | does |
//! |---|---|---|
//! | server | towerkit | limits for slow heads, bodies and readers, and for idle connections; an orderly shutdown |
//! | request id | tower-http | keeps `x-request-id` or makes one, and returns it |
//! | trace, log, metrics, rate limit | towerkit, one policy stack | continues the caller's trace; one line and one measurement for each call, also for rejected ones; 429 over the rate |
//! | timeout | towerkit | 504 for a call that takes too long, with the time to read its body |
//! | authentication, with `--auth` | towerkit | 401 without valid credentials |
//! | routes | axum | 404, 405 with `Allow`, and the endpoints |
//!
//! # Responses
//!
//! | call | response |
//! |---|---|
//! | a valid call | 200 `{"v":…}` |
//! | `/uppercase` of an empty string | 200 `{"v":"","err":"empty string"}` |
//! | malformed JSON, JSON of another shape | 400 |
//! | unknown path, wrong method | 404, 405 with `Allow` |
//! | body that stalls | 408 |
//! | body over 1 MiB | 413; unread if its length is declared |
//! | over the rate | 429 with `Retry-After` |
//! | a panic, or a response that cannot be encoded | 500 |
//! | no response in time | 504 |
//!
//! All errors are problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) without internals. The content type of a request is
//! not checked, because `curl -d` sends that of a form.
//!
//! Each call has a trace id, which its log line shows: that of the caller's `traceparent`, or a new one. If the trace is recorded, the
//! bucket of the histogram has it as an exemplar, for scrapers that ask for OpenMetrics.
//!
//! The empty string is a *business* error: the call itself succeeds, so log and metrics show the status 200 and the outcome `success`.
//! For a status 400 instead, return an [`RpcError`](towerkit::endpoint::RpcError) with `InvalidArgument` from the endpoint.
//!
//! # Several instances
//!
//! ```sh
//! cargo run -p stringsvc -- --addr 127.0.0.1:8001 &
//! cargo run -p stringsvc -- --addr 127.0.0.1:8002 &
//! cargo run -p stringsvc -- --proxy 127.0.0.1:8001,127.0.0.1:8002
//! ```
//!
//! With `--proxy` or `--discover`, other instances answer `uppercase` one after the other, and `count` is answered here. A failed
//! attempt is repeated at the next instance. `--discover` takes the instances from a file, DNS or a registry, and `--register`
//! registers an instance until it shuts down ([`flags`] lists the URLs); etcd, Consul and ZooKeeper need
//! `--features etcd`, `consul` or `zookeeper`.
//!
//! # Coming from go-kit
//!
//! This is stringsvc2, and with `--proxy` stringsvc3: its logging and instrumenting middlewares, written by hand for each operation, are two layers here.
//! go-kit answers malformed JSON with 500, takes any method, forgets the caller that goes away, and cannot be stopped in order.

mod app;
mod args;
mod endpoint;
mod http;
mod proxy;
mod request_id;
mod server;
mod service;
mod telemetry;

pub use app::app;
pub use args::{Args, LogFormat};
pub use endpoint::{CountResponse, Endpoint, StringRequest, UppercaseResponse, count, uppercase};
pub use http::{MAX_BODY, routes, routes_to};
pub use proxy::{Upstream, discover};
pub use server::{serve, server};
pub use service::{EmptyString, StringService, Strings};
pub use telemetry::Telemetry;
