//! Serves endpoints over JSON-RPC 2.0, and calls them over JSON-RPC.
//!
//! Use it where callers expect [JSON-RPC 2.0](https://www.jsonrpc.org/specification): [`JsonRpc`] makes one HTTP service of many endpoints,
//! with batches, notifications and limits, for axum, for plain hyper or for `towerkit-server`. `client` makes an endpoint of a method of
//! an upstream. Layers with `.rpc()` see each call of a batch.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use std::time::Duration;
//! use http::Uri;
//! use serde::{Deserialize, Serialize};
//! use towerkit_core::{ErrorCode, stack};
//! use towerkit_endpoint::{EndpointExt, IntoRpcError, RpcError, RpcExt, endpoint_fn};
//! use towerkit_metrics::{MetricsLayer, Registry};
//! use towerkit_ratelimit::{Quota, RateLimitLayer};
//! use towerkit_transport_jsonrpc::{JsonRpc, JsonRpcClient, client};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SumRequest { a: i64, b: i64 }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let sum = endpoint_fn((), |(), SumRequest { a, b }| async move {
//!     a.checked_add(b).ok_or_else(|| RpcError::new(ErrorCode::OutOfRange, "integer overflow"))
//! });
//! let concat = endpoint_fn((), |(), (a, b): (String, String)| async move { Ok::<_, RpcError>(a + &b) });
//! let registry = Registry::new();
//! let policies = stack((
//!     MetricsLayer::new().registry(registry.clone()),
//!     RateLimitLayer::new(Quota::new(3, Duration::from_secs(3600))?),
//! ));
//! // With axum: `Router::new().route_service("/rpc", server)`.
//! let server = JsonRpc::new()
//!     .method("sum", sum)
//!     .method("concat", concat)
//!     .layer(policies.rpc());
//!
//! // A client of the same service; in a program `towerkit_http::client()` takes the place of the server.
//! let uri = Uri::from_static("http://add.example/rpc");
//! let sum: JsonRpcClient<_, SumRequest, i64> = client(server.clone(), uri.clone(), "sum");
//! assert_eq!(sum.invoke(SumRequest { a: 1, b: 2 }).await?, 3);
//!
//! let error = sum.invoke(SumRequest { a: i64::MAX, b: 1 }).await.unwrap_err();
//! assert_eq!(error.code(), ErrorCode::OutOfRange);
//! assert_eq!(error.message(), "integer overflow");
//!
//! // The rate limit counts each call of a batch.
//! let concat: JsonRpcClient<_, (&str, &str), String> = client(server, uri, "concat");
//! let results = concat.batch().invoke(vec![("a", "b"), ("c", "d")]).await?;
//! assert_eq!(results[0].as_deref().ok(), Some("ab"));
//! assert_eq!(results[1].as_ref().unwrap_err().code(), ErrorCode::ResourceExhausted);
//! assert!(registry.render().contains(r#"rpc_method="concat",rpc_status_code="-32008""#));
//! # Ok::<_, towerkit_core::BoxError>(()) }).unwrap();
//! # }
//! ```
//!
//! # Parameters
//!
//! A message is decoded from the parameters by [`serde`]: a struct from an object or, by position, from an array; a tuple or a list from
//! an array. A single value is a tuple of one, `(u32,)`, because the parameters of JSON-RPC are an array or an object. Parameters without
//! a value may be left out, or be `null`, `[]` or `{}`. Each of these forms is decoded to `()`, to an `Option`, to an empty list, or to a struct of
//! defaults. The headers and the [extensions](http::Extensions) of the HTTP request are those of each call.
//!
//! # Where layers go
//!
//! Add with [`JsonRpc::layer`] and `.rpc()` the layers that must see every call: log, metrics, trace, deadline, limits. They stand outside of
//! the decoding of parameters, so they also see calls with wrong parameters, and calls of unknown methods under the operation `unmatched`.
//! Put around an endpoint the layers of one operation. Layers with `.http()` around the server see one request for each batch, and the
//! status 200 for its errors. They alone see requests that are not JSON-RPC.
//!
//! Metrics, traces and logs name the calls by OpenTelemetry's [semantic conventions]: the metric `rpc.server.call.duration` with
//! `rpc.system.name` `jsonrpc`, the method, and the number of the error as the status code. `JsonRpcClient::layer` does the same for the
//! calls of a client. Layers around an endpoint see a plain call, as over every transport.
//!
//! [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/
//!
//! # Errors
//!
//! The HTTP status of each response of JSON-RPC is 200, and that of a request with notifications only is 204.
//!
//! | mistake | error |
//! |---|---|
//! | a body that is not JSON | -32700 |
//! | a call that is not valid: another version, an id or parameters of another type, a member twice; an empty batch, or one that is too long | -32600 |
//! | an unknown method; [`Unimplemented`](towerkit_core::ErrorCode::Unimplemented) | -32601 |
//! | parameters that cannot be decoded; [`InvalidArgument`](towerkit_core::ErrorCode::InvalidArgument) | -32602 |
//! | a panic; a result that cannot be encoded; [`Internal`](towerkit_core::ErrorCode::Internal) | -32603 |
//! | any other [code](towerkit_core::ErrorCode) | -32000 less its [number](towerkit_core::ErrorCode::number), from -32001 to -32016 |
//! | another HTTP method than POST | HTTP 405 with `Allow` |
//! | a body that is too long, does not arrive in time, or breaks off | HTTP 413, 408, 400 with [problem details](towerkit_transport_http::problem) |
//!
//! Errors of endpoints and of their layers have `data`: `code` is the name of the code, or the reason of a rejection, and `retry_after_ms`
//! the time after which a retry may succeed. Match on `code`, because the numbers have other meanings on other servers. The errors -32700,
//! -32600 and -32601 have no data, as in the specification. A call without an id is a notification, which is never answered: only layers
//! see its error.
//!
//! # Limits
//!
//! | limit | default |
//! |---|---|
//! | [`body_limit`](JsonRpc::body_limit) | 1 MiB |
//! | [`batch_limit`](JsonRpc::batch_limit) | 100 calls |
//! | [`concurrency`](JsonRpc::concurrency), calls of one batch at the same time | 16 |
//!
//! The nesting of a body needs no limit, because it is not read recursively; that of parameters is limited to 127 by [`serde_json`].
//!
//! # Readiness
//!
//! A server is always ready. A method gets ready when its call begins, so that a slow body holds no permit of its layers. A client is ready
//! when its HTTP service is.
//!
//! # Cancellation
//!
//! hyper drops the future of a server when the caller goes away; all calls of the request are dropped with it, also notifications, which
//! are not answered before they end. Dropping the future of a client ends the request.
//!
//! # Clones
//!
//! Clones of a server share its methods. Clones of a client share the counter of its ids.
//!
//! # Coming from go-kit
//!
//! | `transport/http/jsonrpc` | here |
//! |---|---|
//! | `NewServer(EndpointCodecMap{..})` | [`JsonRpc::new`] and [`method`](JsonRpc::method), without codecs |
//! | `ServerBefore`, `ServerBeforeCodec` | [`JsonRpc::layer`]: the request has the headers, the operation and the parameters |
//! | `ServerErrorEncoder`, `ErrorCoder` | [`IntoRpcError`](towerkit_endpoint::IntoRpcError) |
//! | `ServerErrorHandler`, `ServerFinalizer` | observers in [`JsonRpc::layer`] |
//! | `NewClient(url, method)` | `client(http, uri, method)`; the source of an error is the [`ErrorObject`] |
//!
//! go-kit answers notifications, rejects batches and does not check the version; this crate follows the specification.

mod calls;
#[cfg(feature = "client")]
mod client;
mod error_object;
mod message;
mod method;
#[cfg(feature = "client")]
mod reply;
mod server;

#[cfg(feature = "client")]
pub use client::{
    JsonRpcBatchClient, JsonRpcClient, JsonRpcClientFuture, LayeredJsonRpcClient, client,
};
pub use error_object::ErrorObject;
pub use method::RawEndpoint;
pub use server::{JsonRpc, JsonRpcFuture};
