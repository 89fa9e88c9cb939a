//! Compiles the README and every page under `docs/`: `cargo test -p guides --doc` runs each of their code blocks.
//!
//! What `docs/guides/writing-a-layer.md` writes stands here as well, so that its later blocks can use its earlier ones. The tests of this crate show the symptom of each wrong order in `docs/guides/ordering-a-stack.md`, and hold the
//! dashboard and the alerts in `docs/observability` against what is really measured.

// The blocks of a page name this crate where a crate of their own would say `crate`.
extern crate self as guides;

mod layer;
mod pages;
mod room;
mod slow_calls;

pub use layer::{RoomHandle, RoomLayer, Roomed};
pub use room::Room;
pub use slow_calls::SlowCalls;
