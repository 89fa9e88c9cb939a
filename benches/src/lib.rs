//! Benchmarks of towerkit beside its peers.
//!
//! One catalogue says what is measured; the benchmarks, the count of allocations and the report walk through it.

mod case;
#[cfg(feature = "peers")]
mod catalogue;
mod count;
mod drive;
mod inner;
mod measure;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
mod runtime;
mod table;

pub use case::Clocked;
pub use case::Kind;
pub use case::Label;
pub use case::Visit;
#[cfg(feature = "peers")]
pub use catalogue::catalogue;
pub use count::Count;
pub use drive::call_http;
pub use drive::call_plain;
pub use inner::Answer;
pub use inner::Http;
pub use inner::HttpRequest;
pub use inner::Late;
pub use inner::LateFuture;
pub use inner::Plain;
pub use inner::Ready;
pub use measure::Bench;
pub use measure::Group;
pub use measure::Measured;
pub use measure::median;
pub use runtime::runtime;
pub use table::Allocations;
pub use table::Table;
