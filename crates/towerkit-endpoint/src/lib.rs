//! Endpoints: one operation of a plain trait as a tower service.
//!
//! The business logic is a trait or a struct that knows no tower. [`endpoint_fn`] makes each of its operations a
//! `Service<Request>`, around which layers stack and which a transport serves. [`EndpointExt::invoke`] calls it, in a test without
//! a socket as well.
//!
//! ```
//! use std::sync::Arc;
//! use towerkit_endpoint::{EndpointExt, endpoint_fn};
//!
//! trait Greeter: Send + Sync {
//!     fn greet(&self, name: &str) -> Result<String, NobodyThere>;
//! }
//!
//! #[derive(Debug)]
//! struct NobodyThere;
//!
//! struct English;
//!
//! impl Greeter for English {
//!     fn greet(&self, name: &str) -> Result<String, NobodyThere> {
//!         if name.is_empty() { Err(NobodyThere) } else { Ok(format!("hello, {name}")) }
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let greeter = Arc::new(English);
//! let greet = endpoint_fn(greeter, |greeter, name: String| async move { greeter.greet(&name) });
//!
//! assert_eq!(greet.invoke("Ann".to_owned()).await.unwrap(), "hello, Ann");
//! assert!(greet.invoke(String::new()).await.is_err());
//! # });
//! ```
//!
//! # Readiness
//!
//! An endpoint is always ready.
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
//! `endpoint.Endpoint` is any `Service<Request>`, `endpoint.Middleware` a `Layer`, `endpoint.Chain` a `ServiceBuilder`.
//! `endpoint.Failer` is `towerkit_core::Failer`.

mod endpoint;
mod invoke;

pub use endpoint::{EndpointFn, endpoint_fn};
pub use invoke::{EndpointExt, Invoke};
