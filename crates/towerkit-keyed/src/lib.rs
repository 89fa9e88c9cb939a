//! Keys for tower layers: which caller, tenant or upstream host a call belongs to, and a bounded table with one value for each key.
//!
//! A layer that keeps state for each key, such as a rate limit by API key or a circuit breaker by host, is configured with a
//! [`KeyExtractor`] and, for the case that its memory for keys is used up, with [`WhenFull`]. Both are re-exported by the layer crates
//! that use them: `towerkit-ratelimit`, `towerkit-ratelimit-redis` and `towerkit-circuitbreaker`. Authors of layers also find
//! [`KeyTable`] here.
//!
//! # Extractors
//!
//! | extractor | key |
//! |---|---|
//! | a function from [`&Call<'_, Req>`](towerkit_core::Call) to `Option<K>` | any value that implements [`Hash`](std::hash::Hash) |
//! | [`ByHeader`] | the value of a request header or gRPC metadata entry |
//! | [`ByText`] | text that a function finds in the call, without copying it |
//! | `ByClientAddress` (feature `http`) | the address of the client, or its IPv6 network |
//! | [`ByPrincipal`] | the subject of the authenticated caller |
//! | [`NoKey`] | all calls share one state |
//!
//! An extractor of your own implements the trait:
//!
//! ```
//! use towerkit_core::{Call, Plain};
//! use towerkit_keyed::{ByText, KeyExtractor};
//!
//! struct Order {
//!     tenant: String,
//! }
//!
//! struct ByTenant;
//!
//! impl KeyExtractor<Order> for ByTenant {
//!     type Key = str;
//!
//!     fn with_key<T>(&self, call: &Call<'_, Order>, f: impl FnOnce(Option<&str>) -> T) -> T {
//!         f(Some(&call.request.tenant))
//!     }
//! }
//!
//! let protocol = Plain::new("place_order");
//! let mut order = Order { tenant: "acme".to_owned() };
//! let call = Call::new(&mut order, &protocol);
//! assert!(ByTenant.with_key(&call, |key| key == Some("acme")));
//!
//! // The same with a function.
//! let by_tenant = ByText::new(|call: &Call<'_, Order>| Some(&*call.request.tenant));
//! assert!(by_tenant.with_key(&call, |key| key == Some("acme")));
//! ```

mod extractor;
#[cfg(feature = "http")]
mod http;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod table;
#[cfg(all(test, not(towerkit_loom)))]
mod table_model;
mod when_full;

use towerkit_core::sync;

pub use extractor::{ByHeader, ByPrincipal, ByText, KeyExtractor, NoKey};
#[cfg(feature = "http")]
pub use http::ByClientAddress;
pub use table::{Claim, ClaimLock, Entry, KeyHasher, KeyTable, SlotValue};
pub use when_full::WhenFull;
