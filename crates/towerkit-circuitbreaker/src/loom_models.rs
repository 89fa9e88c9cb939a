//! Models for [loom](https://docs.rs/loom): all interleavings of a few threads with at most three preemptions.

mod breaker_table;
mod count_window;
mod in_flight_calls;
mod state_machine;
mod time_window;

use crate::sync as watched;

/// Checks a model with loads that count as writes and with loads that do not, see [`watched`].
fn model(run: impl Fn() + Copy + Sync + Send + 'static) {
    [false, true]
        .into_iter()
        .for_each(|loads| model_with(loads, run));
}

/// Checks a model in one of these two ways.
fn model_with(loads_count_as_writes: bool, run: impl Fn() + Copy + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    watched::LOADS_COUNT_AS_WRITES.set(loads_count_as_writes);
    builder.check(run);
}
