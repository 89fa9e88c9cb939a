//! Programs that tests start: servers of other projects, each in a temporary folder, and the services of the examples. Each ends with its
//! test, also if the test panics.

mod client;
mod program;
mod prometheus;
mod service;
mod wait;

pub use client::{Client, Response, head};
pub use program::{Program, command};
pub use prometheus::Prometheus;
pub use service::Service;
pub use wait::{free_port, until};
