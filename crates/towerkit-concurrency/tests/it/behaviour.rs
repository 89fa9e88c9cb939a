//! The limits and the throttle from the view of their callers.

mod adaptive;
mod backpressure;
mod handles;
mod limit;
mod queue;
mod throttle;
