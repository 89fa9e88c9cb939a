//! The circuit breaker as a caller sees it.

mod applying;
#[cfg(feature = "backpressure")]
mod backpressure;
mod conditions;
mod events;
mod forcing;
mod handles;
mod in_time;
mod judging;
mod keyed;
mod open_duration;
mod opening;
mod probing;
mod setup;
mod slow;
mod streams;
