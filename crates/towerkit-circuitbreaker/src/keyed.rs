//! A breaker for each key, in a table of a fixed size.

mod breakers;
mod guard;
mod key;
mod layer;
mod table;

pub use breakers::CircuitBreakers;
pub use guard::KeyedCircuitBreaker;
pub use key::Key;
pub use layer::{KeyedCircuitBreakerLayer, KeyedCircuitBroken, Overflow};
pub(crate) use table::MAX_CAPACITY;
#[cfg(all(test, towerkit_loom))]
pub(crate) use table::Table;
