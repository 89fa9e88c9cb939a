//! Retries: the laws, the costs, and the behaviour as a caller sees it.

mod allocations;
mod bodies;
mod budgets;
mod calls;
mod connections;
mod contract;
mod panics;
mod pauses;
mod setup;
mod simulation;
mod sockets;
mod tiers;
