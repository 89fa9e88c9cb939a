//! Benchmarks of towerkit beside its peers.
//!
//! One [`catalogue`] says what is measured; the benchmarks, the count of allocations and the report walk through it.

mod case;
mod drive;
mod inner;
#[cfg(feature = "peers")]
pub mod peers;

pub use case::Clocked;
pub use case::Kind;
pub use case::Label;
pub use case::Visit;
pub use drive::call_http;
pub use drive::call_plain;
pub use inner::Answer;
pub use inner::Http;
pub use inner::HttpRequest;
pub use inner::Late;
pub use inner::LateFuture;
pub use inner::Plain;
pub use inner::Ready;
