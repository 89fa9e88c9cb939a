//! Endpoints: one operation of a service as a tower service, the same for every transport.
//!
//! Use an endpoint to keep business logic apart from the wire. The logic is a plain trait or struct that knows no tower.
//! [`endpoint_fn`] makes each of its operations a `Service<Request<T>>`, around which layers with [`.rpc()`](RpcExt::rpc) stack, and
//! which HTTP, JSON-RPC and gRPC transports serve alike.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use tower::ServiceBuilder;
//! use towerkit_core::ErrorCode;
//! use towerkit_endpoint::{EndpointExt, IntoRpcError, RpcError, RpcExt, endpoint_fn};
//! use towerkit_timeout::TimeoutLayer;
//!
//! trait Greeter: Send + Sync {
//!     fn greet(&self, name: &str) -> Result<String, RpcError>;
//! }
//!
//! struct English;
//!
//! impl Greeter for English {
//!     fn greet(&self, name: &str) -> Result<String, RpcError> {
//!         if name.is_empty() {
//!             return Err(RpcError::new(ErrorCode::InvalidArgument, "the name is empty"));
//!         }
//!         Ok(format!("hello, {name}"))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let greeter = Arc::new(English);
//! let greet = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))?.rpc())
//!     .service(endpoint_fn(greeter, |greeter, name: String| async move { greeter.greet(&name) }));
//!
//! assert_eq!(greet.invoke("Ann".to_owned()).await?, "hello, Ann");
//! let error = greet.invoke(String::new()).await.unwrap_err();
//! assert_eq!(error.code(), ErrorCode::InvalidArgument);
//! # Ok::<_, towerkit_core::BoxError>(()) }).unwrap();
//! ```
//!
//! # Request and response
//!
//! A [`Request<T>`] has a message of type `T` and its context: the operation, headers, and extensions with the deadline and the
//! address of the peer. [`endpoint_fn`] is for functions that take the message only, [`call_fn`] for those that read the context. A
//! response is a plain value.
//!
//! # Errors
//!
//! An error has one of the sixteen [codes](towerkit_core::ErrorCode) of gRPC, from which each transport makes the form of its wire.
//! Implement [`IntoRpcError`] for the error type of a service, or use [`RpcError`]. A [`BoxError`](towerkit_core::BoxError) is an
//! internal error, and its text does not reach the caller. A rejection by a layer is an error, too.
//!
//! # Deadlines
//!
//! A transport puts the caller's [`Deadline`](towerkit_core::Deadline) into the extensions. Business code hands it on without a
//! parameter: a client inside of the call takes the [current](towerkit_core::Deadline::current) one.
//!
//! # Readiness
//!
//! An endpoint made of a function is always ready.
//!
//! # Cancellation
//!
//! Dropping the future drops the function's future.
//!
//! # Clones
//!
//! Clone the state, which is usually an `Arc`; so does every call.
//!
//! # Coming from go-kit
//!
//! `endpoint.Endpoint` is any `Service<Request<T>>`, `endpoint.Middleware` a `Layer`, `endpoint.Chain` a `ServiceBuilder`.
//! `endpoint.Failer` is `towerkit_core::Failer`, and with [`RpcExt::rpc`] the code of an error takes its place.

mod endpoint_fn;
mod invoke;
mod request;
mod rpc;
mod rpc_error;

pub use endpoint_fn::{CallFn, Endpoint, EndpointFn, call_fn, endpoint, endpoint_fn};
pub use invoke::{EndpointExt, Invoke, ServeCall, catch_panic, serve_call};
pub use request::{Request, UnknownMethod};
pub use rpc::{Rpc, RpcExchange, RpcExt};
pub use rpc_error::{IntoRpcError, RpcError};
