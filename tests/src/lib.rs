//! The bodies of the fuzz targets, and what several crates of towerkit must do together.
//!
//! A body takes any bytes, hands them to an encoder or a parser by its public API, and panics if a reader that shares no code with it
//! disagrees. `fuzz/` runs them under libFuzzer, and `tests/fuzz.rs` over the corpus and random changes of it.

mod auth;
mod contexts;
mod fields;
mod json_reader;
mod jsonrpc;
mod jwt;
mod lines;
mod logfmt_reader;
mod page;
mod push;
mod push_reader;
mod tracestate;

pub use auth::{basic_header, bearer_header, password_file};
pub use contexts::{b3_multi, b3_single, traceparent};
pub use json_reader::read_json;
pub use jsonrpc::jsonrpc;
pub use jwt::{jwks, jwt};
pub use lines::{json, logfmt};
pub use logfmt_reader::read_logfmt;
pub use page::Page;
pub use push::{graphite, influx, statsd};
pub use tracestate::tracestate;
