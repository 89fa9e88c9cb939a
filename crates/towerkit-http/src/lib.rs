//! HTTP and gRPC for the layers of towerkit.
//!
//! [`HttpExt`] adds `.http()` and `.grpc()` to every layer of towerkit. The layer then fits any `Service<http::Request<_>>`: axum,
//! tonic, hyper or a client. A rejected call gets a response with problem details, or with a gRPC status.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection, RejectionReason, guard};
//! use towerkit_http::HttpExt;
//!
//! struct ClosedOnSundays;
//!
//! impl Policy for ClosedOnSundays {
//!     type CallState = ();
//!     const NEEDS_END: bool = false;
//!     fn finish(&self, _state: (), _end: &CallEnd) {}
//! }
//!
//! impl<Req> Guard<Req> for ClosedOnSundays {
//!     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
//!         let day = Duration::from_secs(24 * 3600);
//!         Err(Rejection::new(RejectionReason::Unavailable, "shop").with_retry_after(day))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let shop = ServiceBuilder::new()
//!     .layer(guard(ClosedOnSundays).http())
//!     .service_fn(|_: Request<()>| async { Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default())) });
//!
//! let response = shop.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(response.headers()["retry-after"], "86400");
//! assert_eq!(response.headers()["content-type"], "application/problem+json");
//! # });
//! ```
//!
//! The crate also has parts to use on their own: [`Problem`] for responses with problem details, [`ClientAddress`] for the client
//! behind proxies, [`RequestKey`] for caches, and [`OriginLayer`] for the origin of outgoing requests. The feature `client` adds `client()`, a client with a connection pool and TLS; the
//! feature `reqwest` adds `Reqwest`, the client of reqwest as a service.
//!
//! # The end of a call
//!
//! A call ends with its response **body**: at the last frame, at the trailers, at an error, when the declared length was delivered, or
//! when the body is dropped. A [`TrackedBody`] carries the state of guards and observers until then. A body that is shorter or longer
//! than its head declares is a failure.
//!
//! A call ends with its response head if no body follows: the response to a `HEAD`, a 204, a 205 or a 304. It also ends there if the
//! connection becomes a WebSocket (`101 Switching Protocols`) or a tunnel (a 2xx response to a `CONNECT`). A limit or a gauge of calls
//! in flight then no longer counts the connection, a breaker has counted a success, and no timeout applies. Limit open WebSockets in
//! their handler.
//!
//! # gRPC
//!
//! [`Http`] reads a call as gRPC if the request and the response have the content type `application/grpc`: one layer serves axum and
//! tonic on one port. The outcome of the call is that of `grpc-status` in the headers or the trailers, and of `UNKNOWN` without one.
//!
//! # Replay
//!
//! Retry, hedge and fallback layers send requests more than once, in the request's own body type: see [`ReplayBody`].
//!
//! # Errors
//!
//! A rejection is a response. Over HTTP it has problem details ([RFC 9457]) and `Retry-After`; over gRPC it consists of trailers only.
//! Its extensions contain the [`Rejection`](towerkit_core::Rejection), by which outer layers recognise it.
//!
//! The response to a rejected call is sent before the request body is read. hyper's HTTP/1 server then closes the connection if the
//! body has not arrived with the head; an HTTP/2 connection stays open.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

#[cfg(feature = "client")]
mod client;
mod client_address;
mod collected_body;
mod drain;
mod errors;
mod ext;
mod grpc;
mod headers;
mod http_protocol;
mod operation;
mod origin;
mod outcome;
mod peer_certificates;
mod problem;
mod recorded_body;
mod rejection_response;
mod replay_body;
mod replay_request;
mod request_key;
#[cfg(feature = "reqwest")]
mod reqwest_service;
mod response_bodies;
mod share;
mod tracked_body;

#[cfg(feature = "client")]
pub use client::{Client, Connector, client};
pub use client_address::{ClientAddress, PeerAddress};
pub use collected_body::{CollectedBody, SharedResponse};
pub use drain::DrainFuture;
#[cfg(feature = "h2")]
pub use errors::is_refused_stream;
#[cfg(feature = "client")]
pub use errors::{BoxedClientErrors, ClientErrors};
pub use errors::{CommonErrors, InspectError};
pub use ext::HttpExt;
pub use grpc::{CallerGone, Grpc, GrpcExchange};
pub use headers::remove_all as remove_headers;
pub use http_protocol::{Http, HttpExchange};
#[cfg(feature = "axum")]
pub use operation::ByMatchedPath;
pub use operation::{OperationFn, OperationName, RequestHead, ResponseHead, Unmatched};
pub use origin::{Origin, OriginLayer};
pub use outcome::{ByStatus, ClassifyHead, code_of_status};
pub use peer_certificates::PeerCertificates;
pub use problem::Problem;
pub use recorded_body::{BodyRecording, RecordedBody};
pub use rejection_response::{header_pair, pushback_value, rejection_response, retry_after_value};
pub use replay_body::ReplayBody;
pub use replay_request::{RecordedRequest, retry_after};
pub use request_key::RequestKey;
#[cfg(feature = "reqwest")]
pub use reqwest_service::{Reqwest, ReqwestFuture};
#[cfg(feature = "axum")]
pub use response_bodies::AxumBodies;
pub use response_bodies::{ResponseBodies, TrackedBodies};
pub use share::CollectFuture;
pub use tracked_body::TrackedBody;
