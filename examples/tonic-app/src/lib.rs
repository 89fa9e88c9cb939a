//! What `build.rs` makes of `proto/greeter.proto`.

mod greeter;

pub use greeter::*;
