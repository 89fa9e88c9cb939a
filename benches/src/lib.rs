//! Benchmarks of towerkit beside its peers.
//!
//! One catalogue says what is measured; the benchmarks, the count of allocations and the report walk through it.

mod app;
mod case;
#[cfg(feature = "peers")]
mod catalogue;
mod count;
mod drive;
mod group;
mod inner;
mod loopback;
mod machine;
mod measure;
mod noise;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
mod runtime;
mod served;
mod table;

pub use app::app;
pub use case::Clocked;
pub use case::Kind;
pub use case::Label;
pub use case::Visit;
#[cfg(feature = "peers")]
pub use catalogue::catalogue;
pub use count::Count;
pub use drive::call_http;
pub use drive::call_key;
pub use drive::call_plain;
pub use drive::call_router;
pub use group::Group;
pub use group::Measured;
pub use group::median;
pub use inner::Answer;
pub use inner::Http;
pub use inner::HttpRequest;
pub use inner::Late;
pub use inner::LateFuture;
pub use inner::Plain;
pub use inner::Ready;
pub use loopback::{Pairs, Server};
pub use machine::Machine;
pub use measure::Bench;
pub use runtime::runtime;
pub use served::loopback;
pub use table::Allocations;
pub use table::Table;
