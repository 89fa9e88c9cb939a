//! Behaviour of discovery and of registrations.

mod behaviour;
#[cfg(feature = "file")]
mod file;
mod memory;
mod registration;
#[cfg(feature = "http")]
mod registry_client;
mod scripted_registry;
#[cfg(feature = "tower")]
mod tower_discover;
