//! Consul, and agents that misbehave.

mod agent;
mod consul;
