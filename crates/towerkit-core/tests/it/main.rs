//! The middleware that runs policies.

mod async_service;
mod backpressure;
mod only;
mod order;
mod panics;
mod service;
mod support;
