//! Coalescing: the laws, the costs, and the behaviour as callers see it.

mod allocations;
mod behaviour;
mod contract;
mod http;
mod model;
mod panics;
