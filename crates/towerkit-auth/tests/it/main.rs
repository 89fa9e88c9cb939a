//! Authentication and authorization: their laws, costs and behaviour.

mod allocations;
mod behaviour;
mod contract;
