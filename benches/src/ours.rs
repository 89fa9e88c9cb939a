//! The layers of towerkit, configured like the peers they are compared with and set so high that no call is refused.

use std::time::Duration;

use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{Call, Clock, IntoRole, RowLayer, stack};
use towerkit_log::LogLayer;
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{ByKey, KeyedRateLimitLayer, Quota, RateLimitLayer};
use towerkit_timeout::TimeoutLayer;

/// Makes a limit of a billion calls a second.
///
/// # Panics
///
/// Never: the quota is valid.
#[must_use]
pub fn rate_limit(clock: Clock) -> RateLimitLayer {
    let quota = Quota::per_second(1_000_000_000).expect("a valid quota");
    RateLimitLayer::new(quota).clock(clock)
}

/// Makes a limit of a billion calls a second for each key, which the request itself is.
///
/// # Panics
///
/// Never: the quota is valid.
#[must_use]
pub fn keyed_rate_limit(
    clock: Clock,
) -> KeyedRateLimitLayer<ByKey<impl Fn(&Call<'_, u64>) -> u64 + Send + Sync + 'static>> {
    let quota = Quota::per_second(1_000_000_000).expect("a valid quota");
    KeyedRateLimitLayer::new(quota, |call: &Call<'_, u64>| *call.request).clock(clock)
}

/// Makes a breaker with the default settings: half of the last 100 calls failed, as recloser's and tower-resilience's.
#[must_use]
pub fn circuit_breaker(clock: Clock) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new().clock(clock)
}

/// Makes a limit of a million calls at a time.
///
/// # Panics
///
/// Never: the limit is valid.
#[must_use]
pub fn concurrency_limit() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1_000_000).expect("a valid limit")
}

/// Makes a timeout of 30 seconds.
///
/// # Panics
///
/// Never: the timeout is valid.
#[must_use]
pub fn timeout() -> TimeoutLayer {
    TimeoutLayer::new(Duration::from_secs(30)).expect("a valid timeout")
}

/// Makes metrics with a registry of their own.
#[must_use]
pub fn metrics(clock: Clock) -> MetricsLayer {
    MetricsLayer::new().registry(Registry::new()).clock(clock)
}

/// Makes a log.
#[must_use]
pub fn log(clock: Clock) -> LogLayer {
    LogLayer::new().clock(clock)
}

/// All roles there are.
pub type Roles = <(LogLayer, MetricsLayer, RateLimitLayer, CircuitBreakerLayer) as IntoRole>::Role;

/// Makes the row of all roles there are, as one layer.
#[must_use]
pub fn row(clock: Clock) -> RowLayer<Roles> {
    stack((
        log(clock.clone()),
        metrics(clock.clone()),
        rate_limit(clock.clone()),
        circuit_breaker(clock),
    ))
}
