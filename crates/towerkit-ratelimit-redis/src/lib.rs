//! The quota of towerkit-ratelimit shared by many processes, on Redis.

#[cfg(all(test, not(towerkit_loom)))]
mod behaviour;
mod connection;
mod guard;
mod handle;
mod health;
mod invalid;
mod key;
mod keys;
mod layer;
mod lease;
mod limiter;
mod measure;
#[cfg(all(test, not(towerkit_loom)))]
mod memory;
#[cfg(all(test, not(towerkit_loom)))]
mod models;
mod pace;
mod place;
mod redis_store;
mod settings;
mod spare;
mod store;
mod sync;
mod wait;

pub use connection::Redis;
pub use guard::RedisRateLimit;
pub use handle::{RedisRateLimitHandle, Snapshot};
pub use invalid::InvalidSetting;
pub use key::{KeyOf, OneKey};
pub use layer::{RedisRateLimitLayer, RedisRateLimited};
pub use redis;
pub use settings::Overflow;
pub use wait::RedisWait;
