//! A circuit breaker for tower services.

mod breaker;
mod guard;
mod invalid;
mod layer;
mod ledger;
mod machine;
#[cfg(all(test, towerkit_loom))]
mod models;
mod settings;
mod state;
mod sync;
mod tally;
mod trip;
mod verdict;
mod window;
mod word;

pub use breaker::{CircuitBreaker, Snapshot};
pub use invalid::InvalidSetting;
pub use layer::CircuitBreakerLayer;
pub use state::State;
pub use trip::Trip;
pub use verdict::Verdict;
