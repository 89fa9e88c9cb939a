//! The laws, the costs and the behaviour of load balancing.

mod allocations;
mod behaviour;
mod contract;
