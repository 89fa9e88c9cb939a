//! The limits and the throttle as their callers see them.

mod adaptive;
mod backpressure;
mod handles;
mod limit;
mod queue;
mod throttle;
