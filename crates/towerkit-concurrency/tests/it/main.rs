//! Concurrency limits: their laws, costs and behaviour, and a model of the queue.

mod allocations;
mod behaviour;
mod contract;
mod guards;
mod model;
