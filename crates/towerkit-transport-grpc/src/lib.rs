//! gRPC.

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
