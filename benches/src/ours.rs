//! The layers of towerkit, configured like the peers they are compared with and set so high that no call is rejected.

use std::{net::SocketAddr, time::Duration};

use towerkit_balance::{BalanceLayer, BuildTable};
use towerkit_circuitbreaker::{CircuitBreakerLayer, KeyedCircuitBreakerLayer, OpenWhen};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{Call, Clock, IntoPolicy, LayerExt, Plain, PolicyLayer, stack};
use towerkit_discovery::{Discovery, Endpoints, Instance, InstanceService};
use towerkit_log::LogLayer;
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{KeyedRateLimitLayer, LimitOptions, Quota, RateLimitLayer};
use towerkit_timeout::TimeoutLayer;
use towerkit_trace::{Sampler, TraceLayer};

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
) -> KeyedRateLimitLayer<LimitOptions<impl Fn(&Call<'_, u64>) -> Option<u64> + Send + Sync + 'static>>
{
    let quota = Quota::per_second(1_000_000_000).expect("a valid quota");
    KeyedRateLimitLayer::new(quota, |call: &Call<'_, u64>| Some(*call.request)).clock(clock)
}

/// Makes a breaker with the default settings: half of the last 100 calls failed, as recloser's and tower-resilience's.
#[must_use]
pub fn circuit_breaker(clock: Clock) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new().clock(clock)
}

/// Makes a breaker that judges by half of the calls of the last ten seconds.
///
/// # Panics
///
/// Never: the condition is valid.
#[must_use]
pub fn time_window_breaker(clock: Clock) -> CircuitBreakerLayer {
    let open_when = OpenWhen::failure_rate(0.5, Duration::from_secs(10), 100);
    CircuitBreakerLayer::new()
        .open_when(open_when.expect("a valid condition"))
        .clock(clock)
}

/// Makes a breaker for each key, which the request itself is.
///
/// # Panics
///
/// Never: the capacity is valid.
#[must_use]
pub fn keyed_circuit_breaker(
    clock: Clock,
) -> KeyedCircuitBreakerLayer<impl Fn(&Call<'_, u64>) -> Option<u64> + Send + Sync + 'static> {
    KeyedCircuitBreakerLayer::new(1000, |call: &Call<'_, u64>| Some(*call.request))
        .expect("a valid capacity")
        .clock(clock)
}

/// The services of instances with a breaker each.
pub type GuardedEndpoints<S> = Endpoints<S, <CircuitBreakerLayer as IntoPolicy>::Policy>;

/// Makes so many instances of a service.
#[must_use]
pub fn endpoints<S: crate::Plain>(inner: &S, instances: u16) -> Endpoints<S> {
    let inner = inner.clone();
    discovery(instances, |_| 1).endpoints(move |_| InstanceService::new(inner.clone()))
}

/// Makes so many instances of a service, with weights from 1 to 3.
#[must_use]
pub fn weighted_endpoints<S: crate::Plain>(inner: &S, instances: u16) -> Endpoints<S> {
    let inner = inner.clone();
    let discovery = discovery(instances, |index| 1 + u32::from(index % 3));
    discovery.endpoints(move |_| InstanceService::new(inner.clone()))
}

/// Makes so many instances of a service, each with a breaker.
#[must_use]
pub fn guarded_endpoints<S: crate::Plain>(inner: &S, instances: u16) -> GuardedEndpoints<S> {
    let inner = inner.clone();
    discovery(instances, |_| 1)
        .endpoints(move |_| InstanceService::new(inner.clone()).guards(CircuitBreakerLayer::new()))
}

fn discovery(instances: u16, weight: impl Fn(u16) -> u32) -> Discovery {
    Discovery::fixed((0..instances).map(|index| {
        let [high, low] = index.to_be_bytes();
        let address = SocketAddr::from(([10, 0, high, low], 80));
        Instance::from(address).weight(weight(index))
    }))
}

/// Makes a load balancer.
#[must_use]
pub fn balance<C: BuildTable>(picker: C) -> BalanceLayer<C, Plain> {
    BalanceLayer::new(picker).plain("double")
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

/// Makes a trace of the calls that a server takes, none of which is recorded.
#[must_use]
pub fn trace_not_sampled() -> TraceLayer {
    TraceLayer::server().sampler(Sampler::never())
}

/// The policies of a service that has everything.
pub type Roles = <(
    TraceLayer,
    LogLayer,
    MetricsLayer,
    ConcurrencyLimitLayer,
    RateLimitLayer,
    CircuitBreakerLayer,
) as IntoPolicy>::Policy;

/// Makes the policy stack of a service that has everything, as one layer.
#[must_use]
pub fn policies(clock: Clock) -> PolicyLayer<Roles> {
    let log = log(clock.clone());
    row_logged_by(log, clock)
}

/// The same with this log.
#[must_use]
pub fn row_logged_by(log: LogLayer, clock: Clock) -> PolicyLayer<Roles> {
    stack((
        trace_not_sampled(),
        log,
        metrics(clock.clone()),
        concurrency_limit(),
        rate_limit(clock.clone()),
        circuit_breaker(clock),
    ))
}
