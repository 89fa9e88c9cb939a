//! Consul as a registry.
mod consul;
mod entry;
mod service;

pub use consul::Consul;
pub use service::{ConsulLease, ConsulService};
