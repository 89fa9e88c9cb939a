//! Rate limits: their laws, their costs and their behaviour.

mod allocations;
mod behaviour;
mod contract;
