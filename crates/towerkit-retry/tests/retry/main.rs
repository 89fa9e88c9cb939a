//! Retries as a caller sees them.

mod bodies;
mod budgets;
mod calls;
mod pauses;
mod setup;
mod tiers;
