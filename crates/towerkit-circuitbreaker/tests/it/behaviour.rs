//! The behaviour of a circuit breaker, as a caller sees it.

#[cfg(feature = "backpressure")]
mod backpressure;
mod conditions;
mod counting;
mod events;
mod handles;
mod keyed;
mod open_duration;
mod opening;
mod overrides;
mod probing;
mod setup;
mod slow_calls;
mod streams;
mod time_windows;
mod updating;
