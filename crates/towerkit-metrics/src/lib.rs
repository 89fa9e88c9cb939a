//! Metrics of the calls of a tower service.

mod atomic;
mod buckets;
mod exposition;
#[cfg(feature = "metrics")]
mod facade;
mod family;
#[cfg(feature = "http")]
mod http;
mod instrument;
mod layer;
mod names;
mod observer;
mod registry;
mod series;
mod table;

pub use buckets::Buckets;
pub use buckets::BucketsError;
#[cfg(feature = "metrics")]
pub use facade::Facade;
#[cfg(feature = "http")]
pub use http::Scrape;
pub use instrument::Counter;
pub use instrument::Gauge;
pub use instrument::Histogram;
pub use instrument::MetricError;
pub use instrument::Provider;
pub use layer::MetricsHandle;
pub use layer::MetricsLayer;
pub use observer::Metrics;
pub use observer::MetricsHeld;
pub use registry::Registry;
