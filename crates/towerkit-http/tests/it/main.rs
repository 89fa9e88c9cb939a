//! HTTP and gRPC as the layers of towerkit see them.

mod client_address;
mod endings;
#[cfg(feature = "axum")]
mod matched_path;
mod refusals;
mod replay;
mod share;
