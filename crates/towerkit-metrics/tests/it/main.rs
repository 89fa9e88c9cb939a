//! The tests of the metrics, in one binary.

mod active;
mod allocations;
mod behaviour;
mod bounded;
mod contract;
mod events;
#[cfg(feature = "metrics")]
mod facade;
mod fanout;
mod go_kit;
mod guards;
mod load;
mod open_metrics;
#[cfg(feature = "http")]
mod prometheus;
mod registry;
mod reserved;
mod scrape;
mod served;
#[cfg(feature = "http")]
mod service;
mod sizes;
