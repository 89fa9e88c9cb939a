//! The circuit breaker: its laws, its costs and its behaviour, and a model of it.

mod allocations;
mod behaviour;
mod contract;
mod model;
