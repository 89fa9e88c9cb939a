//! HTTP and gRPC as the layers of towerkit see them.

#[cfg(feature = "axum")]
mod axum_bodies;
mod client_address;
#[cfg(feature = "client")]
mod client_errors;
mod endings;
#[cfg(feature = "axum")]
mod matched_path;
mod origin;
mod panics;
mod rejections;
mod replay;
mod share;
mod unsent;
mod upgrades;
