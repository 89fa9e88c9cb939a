//! The tests of pushes, in one binary.

mod behaviour;
mod memory;
#[cfg(feature = "http")]
mod receivers;
