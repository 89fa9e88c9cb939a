//! Endpoints: the behaviour as a caller sees it.

mod behaviour;
mod contract;
