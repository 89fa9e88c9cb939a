//! Serves endpoints over JSON-RPC 2.0, and calls them over JSON-RPC.
mod calls;
#[cfg(feature = "client")]
mod client;
mod error_object;
mod message;
mod method;
mod server;

#[cfg(feature = "client")]
pub use client::{
    JsonRpcBatchClient, JsonRpcBatchFuture, JsonRpcClient, JsonRpcClientFuture, client,
};
pub use error_object::ErrorObject;
pub use method::RawEndpoint;
pub use server::{JsonRpc, JsonRpcFuture};
