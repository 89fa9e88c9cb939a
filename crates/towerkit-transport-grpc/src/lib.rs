//! Endpoints as methods of a gRPC service on [tonic], and clients of gRPC services as endpoints.
//!
//! Use the crate to serve an operation over gRPC with the layers that it has over every other transport, and to call a remote
//! operation like a local one. [`serve`] is the only line of a method of a trait that tonic generates, [`unary`] serves a method
//! without generated code, and [`client()`] makes an endpoint from a channel.
//!
//! ```
//! use axum::Router;
//! use tonic::{service::Routes, transport::{Channel, Server, server::TcpIncoming}};
//! use tower::ServiceBuilder;
//! use towerkit_core::ErrorCode;
//! use towerkit_endpoint::{Endpoint, EndpointExt, IntoRpcError, RpcError, RpcExt, endpoint, endpoint_fn};
//! use towerkit_retry::RetryLayer;
//! use towerkit_transport_grpc::{client, unary};
//!
//! // tonic generates such messages from a `.proto` file.
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct SumRequest {
//!     #[prost(int64, tag = "1")]
//!     a: i64,
//!     #[prost(int64, tag = "2")]
//!     b: i64,
//! }
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct SumReply {
//!     #[prost(int64, tag = "1")]
//!     v: i64,
//! }
//!
//! // For the server.
//! impl From<SumRequest> for (i64, i64) {
//!     fn from(request: SumRequest) -> Self {
//!         (request.a, request.b)
//!     }
//! }
//!
//! impl From<i64> for SumReply {
//!     fn from(v: i64) -> Self {
//!         Self { v }
//!     }
//! }
//!
//! // For the client.
//! impl From<(i64, i64)> for SumRequest {
//!     fn from((a, b): (i64, i64)) -> Self {
//!         Self { a, b }
//!     }
//! }
//!
//! impl From<SumReply> for i64 {
//!     fn from(reply: SumReply) -> Self {
//!         reply.v
//!     }
//! }
//!
//! async fn sum(a: i64, b: i64) -> Result<i64, RpcError> {
//!     let sum = a.checked_add(b);
//!     sum.ok_or_else(|| RpcError::new(ErrorCode::OutOfRange, "integer overflow"))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let local = endpoint_fn((), |(), (a, b)| sum(a, b));
//! let method = unary::<SumRequest, SumReply, _, _>("sum", local);
//! let routes = Routes::from(Router::new().route_service("/pb.Add/Sum", method));
//! let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
//! let url = format!("http://{}", incoming.local_addr()?);
//! tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
//!
//! let channel = Channel::from_shared(url)?.connect().await?;
//! let remote = client::<SumRequest, SumReply, _, _, _>(channel, "/pb.Add/Sum")?;
//! let layers = ServiceBuilder::new().layer(RetryLayer::new().idempotent().rpc());
//! let sum: Endpoint<(i64, i64), i64, RpcError> = endpoint(layers.service(remote));
//! assert_eq!(sum.invoke((1, 2)).await?, 3);
//! let error = sum.invoke((i64::MAX, 1)).await.unwrap_err();
//! assert_eq!((error.code(), &*error.message()), (ErrorCode::OutOfRange, "integer overflow"));
//! # Ok::<_, towerkit_core::BoxError>(()) })?;
//! # Ok::<_, towerkit_core::BoxError>(())
//! ```
//!
//! # Messages
//!
//! The messages of the wire convert into the types of an endpoint and back by [`TryFrom`] or [`From`]; a message can be the type of an
//! endpoint itself. A request that does not convert is [`InvalidArgument`], a reply that does not convert is [`Internal`]; a
//! conversion may return an [`RpcError`] instead.
//!
//! A message over the limit, 4 MiB by default, is [`ResourceExhausted`] in [`Client`] and [`Unary`]. tonic's own limit ends such a call
//! with `OUT_OF_RANGE`: put a [`MessageLimitLayer`] around a server with generated code.
//!
//! # Metadata
//!
//! Metadata are the headers of a [`Request`]: a server moves them there, and a client sends them, without those that gRPC or HTTP/2
//! reserve. A `-bin` header is base64; [`MetadataMap::from_headers`] decodes it. To add metadata to a response, edit the response of
//! [`serve`] before the method returns it.
//!
//! # Errors
//!
//! [`status`] and [`rpc_error`] convert errors: a code, a message, and the time after which a retry may succeed, which is
//! [`grpc-retry-pushback-ms`] on the wire. A message is cut after 4 KiB. The cause of an error stays in the process. A panic of an
//! endpoint is [`Internal`], and the connection goes on.
//!
//! An error of a client comes from the server with its code, or from a proxy by its [HTTP status], or from the connection as
//! [`Unavailable`], for example after `GOAWAY`. A request that certainly did not reach the server is marked as unsent, so that a retry
//! may send any request again. A rejection by a layer around the channel stays a [`Rejection`].
//!
//! # Deadlines
//!
//! A server takes the [`Deadline`] that a `DeadlineLayer` put into the extensions, or else that of `grpc-timeout`, and makes it the
//! [current](towerkit_core::Deadline::current) one while the endpoint runs. It does not end the call; a `TimeoutLayer` around the endpoint does, and
//! so does tonic's own server. A client sends the time that is left until the deadline of the request, or until the current one. A
//! request after its deadline is not sent.
//!
//! tonic reports a call that ends at its deadline as `CANCELLED`; a [`Client`] makes it [`DeadlineExceeded`], which a circuit breaker
//! counts.
//!
//! # Streams
//!
//! Methods with streams are tonic's own, behind layers with `.grpc()` around the server or the channel: a call lasts until the end of
//! its stream. So are the services of `tonic-health` and `tonic-reflection`; add them to the same server.
//!
//! # Readiness
//!
//! [`serve`] and [`Unary`] make a clone of the endpoint ready for each call, after its message was read, so that a slow request holds
//! no permit of a limit. [`Client`] is ready when its channel is.
//!
//! # Cancellation
//!
//! A client that goes away drops the future of the endpoint. One that goes away while its message is read is recorded as cancelled, too,
//! by [`Unary`] and behind a [`MessageLimitLayer`]. Dropping a [`ClientFuture`] resets the stream, which does the same at the
//! server.
//!
//! # Clones
//!
//! Clones of a [`Client`] share the channel as clones of the channel do.
//!
//! # Coming from go-kit
//!
//! | `transport/grpc` | here |
//! |---|---|
//! | `NewServer(endpoint, dec, enc)` and a handler for each method | [`serve`], with [`TryFrom`] in place of `dec` and `enc` |
//! | `NewClient(conn, service, method, enc, dec, reply)` | [`client()`]; it adds to the metadata of the request and does not replace them |
//! | `ServerBefore`, `ClientBefore` | the headers of a [`Request`], in a function of `call_fn` or in `map_request` of tower |
//! | `ServerAfter` | `metadata_mut()` of the response of [`serve`] |
//! | `ClientAfter` | `map_response` of tower around the channel, which sees the headers |
//! | `ServerFinalizer`, `ServerErrorHandler` | log and metrics, with `.grpc()` or `.rpc()` |
//! | an error is `Unknown` unless it is a status | the [code](towerkit_core::ErrorCode) of the error |
//! | a field `err` in the reply for errors of the business | an error with a code |
//! | unary methods only | [streams](#streams) with the same layers |
//!
//! [tonic]: https://docs.rs/tonic/0.14
//! [`MetadataMap::from_headers`]: tonic::metadata::MetadataMap::from_headers
//! [`grpc-retry-pushback-ms`]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
//! [HTTP status]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
//! [`Request`]: towerkit_endpoint::Request
//! [`RpcError`]: towerkit_endpoint::RpcError
//! [`Rejection`]: towerkit_core::Rejection
//! [`Deadline`]: towerkit_core::Deadline
//! [`DeadlineExceeded`]: towerkit_core::ErrorCode::DeadlineExceeded
//! [`Internal`]: towerkit_core::ErrorCode::Internal
//! [`InvalidArgument`]: towerkit_core::ErrorCode::InvalidArgument
//! [`ResourceExhausted`]: towerkit_core::ErrorCode::ResourceExhausted
//! [`Unavailable`]: towerkit_core::ErrorCode::Unavailable

mod channel;
mod client;
mod layer;
mod messages;
mod metadata;
mod server;
mod status;

pub use client::{Client, ClientFuture, client};
pub use layer::{MessageLimit, MessageLimitLayer};
pub use messages::MessageLimitBody;
pub use server::{Unary, UnaryFuture, serve, unary};
pub use status::{rpc_error, status};
