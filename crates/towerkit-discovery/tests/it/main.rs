//! Behaviour of discovery and of registrations.

mod behaviour;
mod memory;
mod registration;
mod scripted_registry;
