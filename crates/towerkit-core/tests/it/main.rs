//! What the plumbing does for every policy, once.

mod async_service;
mod backpressure;
mod only;
mod order;
mod panics;
mod service;
mod support;
