//! What the plumbing does for every role, once.

mod backpressure;
mod only;
mod order;
mod panics;
mod row;
mod support;
mod waiting;
