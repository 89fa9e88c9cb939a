//! Retries: the laws, the costs, and the behaviour as a caller sees it.

mod allocations;
mod behaviour;
mod contract;
