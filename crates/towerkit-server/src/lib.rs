//! x spawns
mod accept;
mod activity;
mod call;
mod config;
mod connection;
mod connection_timer;
mod drained;
#[cfg(feature = "grpc-health")]
mod grpc_health;
mod head_check;
mod health;
mod listener;
mod monitored_io;
mod phase;
mod request_body;
mod response_body;
mod server;
mod shutdown;
#[cfg(feature = "tls")]
mod tls;

pub use drained::Drained;
#[cfg(feature = "grpc-health")]
pub use grpc_health::{GrpcHealth, GrpcHealthStream};
pub use health::{Health, HealthService};
pub use listener::{Accepted, Listener};
pub use request_body::{RequestBody, RequestBodyError};
pub use server::Server;
pub use shutdown::{ShutdownSignal, shutdown_signal};
#[cfg(feature = "tls")]
pub use tls::{PeerCertificates, Tls, TlsError, TlsHandle, TlsListener};
