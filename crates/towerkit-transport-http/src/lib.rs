//! Serves endpoints over HTTP, and calls them over HTTP.
//!
//! Use it between the wire and the endpoints of a service: [`serve`] makes an HTTP service of an endpoint, for axum, for plain hyper or
//! for `towerkit-server`, and `client` makes an endpoint of an HTTP client. A codec such as [`Json`] is between the two.
//!
//! ```
//! use axum::{Router, routing::post_service};
//! use http::{Method, Uri};
//! use serde::{Deserialize, Serialize};
//! use towerkit_core::ErrorCode;
//! use towerkit_endpoint::{EndpointExt, IntoRpcError, RpcError, endpoint_fn};
//! use towerkit_transport_http::{HttpClient, Json, client, serve};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SumRequest { a: i64, b: i64 }
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct SumReply { v: i64 }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let sum = endpoint_fn((), |(), SumRequest { a, b }| async move {
//!     let v = a.checked_add(b).ok_or_else(|| RpcError::new(ErrorCode::InvalidArgument, "integer overflow"))?;
//!     Ok::<_, RpcError>(SumReply { v })
//! });
//! let server: Router = Router::new().route("/sum", post_service(serve("sum", Json, sum)));
//!
//! // A client of the same service; in a program `towerkit_http::client()` takes the place of the router.
//! let uri = Uri::from_static("http://add.example/sum");
//! let sum: HttpClient<_, _, SumRequest, SumReply> = client(server, Method::POST, uri, Json);
//! assert_eq!(sum.invoke(SumRequest { a: 1, b: 2 }).await?.v, 3);
//!
//! let error = sum.invoke(SumRequest { a: i64::MAX, b: 1 }).await.unwrap_err();
//! assert_eq!(error.code(), ErrorCode::InvalidArgument);
//! assert_eq!(error.message(), "integer overflow");
//! # Ok::<_, RpcError>(()) }).unwrap();
//! ```
//!
//! # Codecs
//!
//! | codec | feature | content type |
//! |---|---|---|
//! | [`Json`] | `json`, on by default | `application/json` |
//! | `Form`, `Query` | `form` | `application/x-www-form-urlencoded`; the query of the URI |
//! | `Protobuf` | `protobuf` | `application/x-protobuf` |
//! | `Xml` | `xml` | `application/xml` |
//!
//! A pair such as `(Query, Json)` has a codec for requests and one for responses. A function is a codec, too: one that encodes
//! responses may set the status and headers, and pass a stream on as the [`ResponseBody`]. `HttpHandler::extract` (feature `axum`)
//! makes a message of a path or of headers, by the extractors of axum.
//!
//! # Where layers go
//!
//! Put around the router, with `.axum()` or `.http()`, the layers that must see every call: trace, log, metrics, deadline, a concurrency
//! limit, authentication. Put around the endpoint, with `.rpc()`, the layers of one operation: its rate limit, its timeout. A layer
//! around the endpoint does not see requests that cannot be decoded.
//!
//! # Errors
//!
//! One function encodes every error that a caller sees: errors of the endpoint and of its layers, of decoding and encoding, and of
//! axum's extractors. By default it is [`problem`]; [`HttpHandler::errors`] replaces it.
//!
//! | mistake | response |
//! |---|---|
//! | a body or a query that cannot be decoded | 400 |
//! | another method than [`HttpHandler::method`] | 405 with `Allow` |
//! | a body that does not arrive in time | 408 |
//! | a body over [`HttpHandler::body_limit`] | 413 |
//! | an error of the endpoint | the status of its [code](towerkit_core::ErrorCode::http_status), or its own |
//! | a rejection by a layer | the response of that layer, as over `.http()` |
//! | a panic; a response that cannot be encoded | 500 |
//!
//! # Readiness
//!
//! A handler is always ready. The endpoint gets ready after the request is decoded, so that a slow body holds no permit of the
//! endpoint's layers. A client is ready when its HTTP service is.
//!
//! # Cancellation
//!
//! hyper drops the future of a handler when the caller goes away; the call of the endpoint is dropped with it. Dropping the future of a
//! client ends the request.
//!
//! # Clones
//!
//! Clones of a handler share what clones of its endpoint and of its codec share.
//!
//! # Coming from go-kit
//!
//! | `transport/http` | here |
//! |---|---|
//! | `NewServer(e, dec, enc)` | `serve(operation, (dec, enc), e)` |
//! | `ServerBefore` | `map_request` of tower around the handler, or an extractor of axum |
//! | `ServerAfter`, `Headerer`, `StatusCoder` | a function as the encoder of responses; `IntoRpcError::http_status` for errors |
//! | `ServerErrorEncoder` | [`HttpHandler::errors`] |
//! | `ServerErrorHandler`, `ServerFinalizer` | layers for logs, metrics and traces around the handler |
//! | `NewClient(method, url, enc, dec)` | `client(http, method, uri, (enc, dec))`; a response without a success status is an error |

#[cfg(feature = "client")]
mod client;
mod codec;
#[cfg(any(
    feature = "form",
    feature = "json",
    feature = "protobuf",
    feature = "xml"
))]
mod content;
mod error_response;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "form")]
mod form;
mod handler;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "protobuf")]
mod protobuf;
mod read_body;
mod response_body;
#[cfg(feature = "xml")]
mod xml;

#[cfg(feature = "client")]
pub use client::{
    Exchange, HttpClient, HttpClientFuture, client, client_head, parse_code, read_error,
    transport_error,
};
pub use codec::{DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse};
pub use error_response::problem;
#[cfg(feature = "axum")]
pub use extract::ExtractHandler;
#[cfg(feature = "form")]
pub use form::{Form, Query};
pub use handler::{HandlerFuture, HttpHandler, body_error, serve};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "protobuf")]
pub use protobuf::Protobuf;
pub use read_body::{ReadBody, ReadBodyError};
pub use response_body::ResponseBody;
#[cfg(feature = "xml")]
pub use xml::Xml;
