//! One deliberately broken layer for each law: the suite must reject it. A sound layer passes all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use towerkit_test::run_paused;

mod backpressure;
mod bodies;
mod broken;

/// Whether a law lets the layer with this fault pass.
pub(crate) fn passes<F: Future<Output = ()>>(law: impl FnOnce() -> F) -> bool {
    catch_unwind(AssertUnwindSafe(|| run_paused(async { law().await }))).is_ok()
}
