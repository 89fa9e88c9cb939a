//! A bucket for each key, in a table of a fixed size.

mod buckets;
mod guard;
mod handle;
mod key;
mod layer;
#[cfg(all(test, not(towerkit_loom)))]
mod model;
mod overrides;
mod pressure;
mod settings;
mod table;

pub use guard::KeyedRateLimitPolicy;
pub use handle::{KeyedRateLimitHandle, KeyedSnapshot};
pub use key::{ByClass, ByField, ByKey, ByText, KeyOf, Tags};
pub use layer::{KeyedRateLimit, KeyedRateLimitLayer};
pub use settings::Overflow;
#[cfg(all(test, towerkit_loom))]
pub(crate) use {
    buckets::Buckets,
    settings::Settings,
    table::{Claim, Table},
};
