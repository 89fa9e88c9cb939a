//! Serves endpoints over JSON-RPC 2.0, and calls them over JSON-RPC.
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
pub use client::{JsonRpcBatchClient, JsonRpcClient, JsonRpcClientFuture, client};
pub use error_object::ErrorObject;
pub use method::RawEndpoint;
pub use server::{JsonRpc, JsonRpcFuture};
