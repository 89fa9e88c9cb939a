//! HTTP and gRPC for the layers of towerkit.
//!
//! [`HttpExt`] adds `.http()` and `.grpc()` to every layer of towerkit. The layer then fits any `Service<http::Request<_>>`: axum,
//! tonic, hyper, or a client.
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use bytes::Bytes;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{Call, CallEnd, Guard, Policy, RejectionReason, Rejection, guard};
//! use towerkit_http::HttpExt;
//!
//! struct ClosedOnSundays;
//!
//! impl Policy for ClosedOnSundays {
//!     type CallState = ();
//!     const NEEDS_END: bool = false;
//!     fn finish(&self, _held: (), _end: &CallEnd) {}
//! }
//!
//! impl<Req> Guard<Req> for ClosedOnSundays {
//!     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
//!         let day = std::time::Duration::from_secs(24 * 3600);
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
//! # The end of a call
//!
//! A call is over at the end of its response **body**, however that ends: no further frame, trailers, an error, a declared length
//! that is delivered, `is_end_stream`, or a drop. What a guard or an observer holds travels there in a [`TrackedBody`].
//!
//! A body that is shorter or longer than its head declares is a failure: a server aborts the connection after one that is too short.
//!
//! A call is over at its head where no body follows: in the answer to a `HEAD`, in a 204, 205 or 304. It is also over there where
//! something else follows: after `101 Switching Protocols`, as an open WebSocket, and after a 2xx to a `CONNECT`. A limit and a gauge
//! of calls in flight then no longer count the connection, a breaker has seen a success, a log has written its line, and no timeout
//! applies. Limit open WebSockets where they are handled.
//!
//! # gRPC
//!
//! A request whose content type is `application/grpc` is answered as gRPC also by [`Http`], and what answers it in kind is read so:
//! one layer serves axum and tonic on one port. Its outcome stands in `grpc-status`, in the headers or in the trailers; where there is none it is `UNKNOWN`.
//!
//! # Errors
//!
//! A rejection is a response: problem details (RFC 9457) with `Retry-After` over HTTP, trailers only over gRPC. It carries the
//! [`Rejection`](towerkit_core::Rejection) in its extensions, by which layers outside recognise it.
//!
//! A rejection answers before the request body is read. hyper's HTTP/1 server then closes the connection if the body has not arrived
//! with the head; over HTTP/2 the connection goes on.

mod body;
#[cfg(feature = "client")]
mod client;
mod client_address;
#[cfg(feature = "client")]
mod client_errors;
mod collected;
mod discard;
mod errors;
mod ext;
mod grpc;
mod headers;
mod http_protocol;
mod operation;
mod outcome;
mod problem;
mod recorded_body;
mod rejection;
mod replay_body;
mod replay_request;
mod request_key;
#[cfg(feature = "reqwest")]
mod reqwest_service;
mod response_body;
mod share;

pub use body::TrackedBody;
#[cfg(feature = "client")]
pub use client::{Client, Connector, client};
pub use client_address::{ClientAddress, InvalidNetwork, PeerAddress};
#[cfg(feature = "client")]
pub use client_errors::{BoxedClientErrors, ClientErrors};
pub use collected::{CollectedBody, KeptResponse};
pub use discard::Discarded;
pub use errors::{KnownErrors, ReadErrors};
pub use ext::HttpExt;
pub use grpc::{Grpc, GrpcExchange};
pub use http_protocol::{Http, HttpExchange};
#[cfg(feature = "axum")]
pub use operation::ByMatchedPath;
pub use operation::{OperationFn, OperationName, RequestHead, ResponseHead, Unrouted};
pub use outcome::{ByStatus, ClassifyHead};
pub use problem::Problem;
pub use recorded_body::{BodyRecording, RecordedBody};
pub use replay_body::ReplayBody;
pub use replay_request::RecordedRequest;
pub use request_key::RequestKey;
#[cfg(feature = "reqwest")]
pub use reqwest_service::{Reqwest, ReqwestFuture};
#[cfg(feature = "axum")]
pub use response_body::InAxum;
pub use response_body::{ResponseBody, Tracked};
pub use share::Collect;
