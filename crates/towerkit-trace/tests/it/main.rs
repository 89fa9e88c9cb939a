//! The laws and costs of the layer, its behaviour, and the formats of contexts.

mod allocations;
mod b3;
mod b3_model;
mod behaviour;
mod calls;
mod codec;
mod contract;
#[cfg(feature = "opentelemetry")]
mod exported;
mod message;
mod w3c;
