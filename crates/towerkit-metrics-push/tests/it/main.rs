//! Pushes over real sockets and to real receivers.

mod behaviour;
mod memory;
#[cfg(feature = "http")]
mod receivers;
