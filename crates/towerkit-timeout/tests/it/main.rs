//! Timeouts and deadlines: the laws, the allocations, and the behaviour as a caller sees it.

mod allocations;
mod behaviour;
#[cfg(feature = "http")]
mod body;
mod contract;
mod deadline;
mod tonic_channel;
