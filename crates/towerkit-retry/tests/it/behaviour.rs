//! Retries as a caller sees them.

mod bodies;
mod budgets;
mod calls;
mod connections;
mod delays;
mod panics;
mod setup;
mod simulation;
mod sockets;
mod tiers;
