//! What the plumbing does for every role, once.

mod backpressure;
mod only;
mod row;
mod support;
mod waiting;
