//! Programs of others, such as servers, that tests start: each in a temporary folder, and gone at the end of the test, also of one that
//! panics.

mod program;
mod prometheus;
mod wait;

pub use program::{Program, command};
pub use prometheus::Prometheus;
pub use wait::{free_port, until};
