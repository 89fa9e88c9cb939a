//! What the plumbing does for every role, once.

mod row;
mod support;
mod waiting;
