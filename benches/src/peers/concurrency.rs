use tower::limit::ConcurrencyLimitLayer;
use tower_resilience_bulkhead::BulkheadLayer;

/// More calls than a benchmark ever has in flight.
const MANY: usize = 1_000_000;

/// Makes tower's concurrency limit.
#[must_use]
pub fn tower_concurrency_limit() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(MANY)
}

/// Makes tower-resilience's bulkhead, which rejects what does not fit.
///
/// # Panics
///
/// Never: the configuration is valid.
#[must_use]
pub fn tower_resilience_bulkhead() -> BulkheadLayer {
    BulkheadLayer::builder()
        .max_concurrent_calls(MANY)
        .reject_when_full()
        .build()
        .expect("a valid configuration")
}
