//! go-kit's API gateway on towerkit: addsvc over gRPC and stringsvc over HTTP, discovered and balanced.
//!
//! ```sh
//! cargo run -p stringsvc &                                               # on 127.0.0.1:8080
//! cargo run -p addsvc --bin addsvc &                                     # on 127.0.0.1:8081
//! cargo run -p apigateway &                                              # on 127.0.0.1:8000
//! curl -d '{"a":1,"b":2}' localhost:8000/addsvc/sum                      # {"v":3}
//! curl -d '{"s":"hello, world"}' localhost:8000/stringsvc/uppercase      # {"v":"HELLO, WORLD"}
//! ```
//!
//! `--addsvc` and `--stringsvc` name the registries of the instances; [`flags`] lists the URLs. An instance has one connection
//! for both operations of addsvc.
//!
//! # The layers
//!
//! | where | layers |
//! |---|---|
//! | around the routes, with `.axum()` | trace, log, metrics |
//! | around each operation, with `.rpc()` | timeout of all attempts (`--retry-timeout`) |
//! | around the instances, with `.grpc_client()` or `.http_client()` | trace, retry at another instance (`--retry-max`), balancer |
//! | of each instance | circuit breaker, and for stringsvc a rate limit and the timeout of an attempt |
//!
//! Without an instance the response is 503 at once.
//!
//! # Coming from go-kit
//!
//! go-kit's gateway dials each instance once for each method, and sends `GET` with a body to stringsvc. Without instances it waits for
//! the whole timeout.

mod app;
mod args;

pub use app::app;
pub use args::Args;
