//! What the plumbing does for every role, once.

mod only;
mod row;
mod support;
mod waiting;
