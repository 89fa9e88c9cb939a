//! Limits on the calls in flight: their laws, their costs and their behaviour, and a model of the queue.

mod allocations;
mod behaviour;
mod contract;
mod guards;
mod model;
