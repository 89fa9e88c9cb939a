//! Consul, and agents that misbehave.

mod consul;
