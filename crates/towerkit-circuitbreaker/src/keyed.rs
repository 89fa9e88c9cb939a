//! A breaker for each key, in a table of a fixed size.

mod breakers;
mod guard;
mod key;
mod layer;
mod table;

pub use breakers::KeyedCircuitBreakerHandle;
pub use guard::KeyedCircuitBreakerPolicy;
pub use key::Key;
pub use layer::{KeyedCircuitBreaker, KeyedCircuitBreakerLayer, WhenFull};
pub(crate) use table::MAX_CAPACITY;
#[cfg(all(test, towerkit_loom))]
pub(crate) use table::Table;
