//! go-kit's add service on towerkit: two operations over HTTP, JSON-RPC and gRPC, and clients for all three.
//!
//! - **Service** (`service.rs`): the trait [`AddService`] and its implementation [`Adder`]. They know no tower and no wire.
//! - **Endpoints** (`endpoints.rs`): each operation as a tower service. [`Endpoints`] implements the trait, too.
//! - **Transports** (`over_http.rs`, `over_jsonrpc.rs`, `over_grpc.rs`): the endpoints served, and the same endpoints as clients.
//!
//! `app.rs` puts the layers around them.
//!
//! ```sh
//! cargo run -p addsvc                                                # all transports on one port
//! curl -d '{"a":1,"b":2}' localhost:8081/sum                         # {"v":3}
//! curl -d '{"jsonrpc":"2.0","method":"concat","params":["a","b"],"id":1}' localhost:8081/rpc
//! cargo run -p addsvc --bin addcli -- --http-addr localhost:8081 1 2     # 1 + 2 = 3
//! cargo run -p addsvc --bin addcli -- --grpc-addr localhost:8081 --method concat 1 2
//! cargo run -p addsvc --bin addcli -- --jsonrpc-addr localhost:8081 --timeout 0.5 1 2
//! curl localhost:8081/metrics
//! ```
//!
//! # Errors
//!
//! | call | HTTP | JSON-RPC | gRPC |
//! |---|---|---|---|
//! | the sum of two zeroes, an overflow of 32 bits, a result of more than 10 characters | 400 | -32602 | `INVALID_ARGUMENT` |
//! | over the rate | 429 with `Retry-After` | -32008 | `RESOURCE_EXHAUSTED` |
//! | no response in time | 504 | -32004 | `DEADLINE_EXCEEDED` |
//! | a panic | 500 | -32603 | `INTERNAL` |
//!
//! HTTP errors are problem details. With `--go-kit-errors` they have the body of go-kit, `{"error":"…"}`, and business errors over gRPC
//! are in the member `err` of the reply.
//!
//! # Operation
//!
//! Beside the gRPC service are `grpc.health.v1`, which says that the server serves until it stops, and server reflection for tools such
//! as grpcurl. `addcli` sends the time that is left until its deadline, in `grpc-timeout` or in `x-request-timeout-ms`, with each attempt.
//!
//! # The layers
//!
//! | where | layers |
//! |---|---|
//! | around the HTTP routes and the gRPC service, with `.axum()` | trace, log, metrics, deadline, timeout |
//! | around each JSON-RPC call, with `.rpc()` | trace, log, metrics, deadline |
//! | around `/rpc`, with `.http()` | timeout |
//! | inside of these, with `--auth` and `.axum()` | authentication |
//! | around each endpoint, with `.rpc()` | rate limit |
//! | around each endpoint of a client, with `.rpc()` | retry, circuit breaker, timeout |
//! | around each HTTP and each JSON-RPC client, with `.rpc()` | deadline |
//!
//! go-kit has a circuit breaker on the server; here it is in the client, which can do without the server for a while.

mod app;
mod endpoints;
mod over_grpc;
mod over_http;
mod over_jsonrpc;
pub mod pb;
mod service;

pub use app::{Options, client_layers, grpc_app, http_app, json_rpc_app, server_layers};
pub use endpoints::{AddEndpoint, ConcatReply, ConcatRequest, Endpoints, SumReply, SumRequest};
pub use over_grpc::grpc_client;
pub use over_http::{http_client, http_routes};
pub use over_jsonrpc::json_rpc_client;
pub use service::{AddError, AddService, Adder};
