//! The circuit breaker: its laws, its costs, its behaviour, and a comparison with a model.

mod allocations;
mod behaviour;
mod contract;
mod model;
