//! The profile service as its callers see it.

mod client;
mod program;
mod routes;
