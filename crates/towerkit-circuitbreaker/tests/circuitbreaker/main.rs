//! The circuit breaker as a caller sees it.

mod events;
mod forcing;
mod judging;
mod opening;
mod probing;
mod setup;
