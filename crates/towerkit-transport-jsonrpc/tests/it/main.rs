//! Endpoints over JSON-RPC: the behaviour as a caller sees it.

#[cfg(feature = "client")]
mod client;
mod harness;
mod hostile;
mod ids;
mod layers;
mod limits;
mod params;
mod server;
mod specification;
