//! Compiles the README and every page under `docs/`: `cargo test -p guides --doc` runs their code blocks.
//!
//! The layers of `docs/guides/writing-a-layer.md` are part of this crate, so that later blocks of the page can use earlier ones. The tests
//! show the symptom of each wrong order in `docs/guides/ordering-a-stack.md`, and compare the
//! dashboard and the alerts in `docs/observability` with real metrics.

// The code blocks name this crate in place of `crate`.
extern crate self as guides;

mod in_flight_limit;
mod layer;
mod pages;
mod retry_once;
mod slow_call_observer;

pub use in_flight_limit::InFlightLimitPolicy;
pub use layer::{InFlightLimit, InFlightLimitHandle, InFlightLimitLayer};
pub use retry_once::{BoxFuture, RetryOnce, RetryOnceLayer};
pub use slow_call_observer::SlowCallObserver;
