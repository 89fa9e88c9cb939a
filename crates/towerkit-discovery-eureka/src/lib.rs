//! Eureka as a registry.
mod cache;
mod eureka;
mod service;
mod wire;

pub use eureka::Eureka;
pub use service::{EurekaLease, EurekaService};
