//! T-11: every ordered pair of layers keeps the laws T-01, T-03 and T-04, nested over a plain service and over HTTP, and every
//! ordered pair of guards and observers does so fused into one policy stack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_layer::Stack;
use towerkit::{
    cache::{CacheLayer, Capacity, Lifetime},
    circuitbreaker::CircuitBreakerLayer,
    coalesce::CoalesceLayer,
    concurrency::{ConcurrencyLimitLayer, Queue, QueuedConcurrencyLimitLayer},
    core::{KeyFn, LayerExt, NoProtocol, stack},
    hedge::HedgeLayer,
    http::HttpExt,
    log::LogLayer,
    metrics::{MetricsLayer, Registry},
    ratelimit::{
        ByHeader, DelayingRateLimitLayer, KeyedRateLimitLayer, LimitOptions, Quota, RateLimitLayer,
    },
    retry::{Always, RetryLayer},
    timeout::TimeoutLayer,
};
use towerkit_test::{Subject, laws, run_paused};

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new()
}

/// No two calls have the same key, so that all of them reach the probe.
fn one_each<Req>() -> impl Fn(&Req) -> Option<u64> + Clone {
    let calls = Arc::new(AtomicU64::new(0));
    move |_| Some(calls.fetch_add(1, Ordering::Relaxed))
}

fn cache<Req>() -> CacheLayer<KeyFn<impl Fn(&Req) -> Option<u64> + Clone, u64>> {
    let lifetime = Lifetime::new(Duration::from_secs(60)).unwrap();
    CacheLayer::new(lifetime, Capacity::entries(100).unwrap(), one_each())
}

fn coalesce<Req>() -> CoalesceLayer<KeyFn<impl Fn(&Req) -> Option<u64> + Clone, u64>> {
    CoalesceLayer::new(one_each())
}

fn hedge() -> HedgeLayer<NoProtocol, Always> {
    let after = HedgeLayer::after(Duration::from_secs(60));
    after.unwrap().idempotent()
}

fn limit() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_second(1000).unwrap())
}

fn by_key() -> KeyedRateLimitLayer<LimitOptions<ByHeader>> {
    KeyedRateLimitLayer::new(Quota::per_second(1000).unwrap(), ByHeader::new("x-api-key"))
}

fn delaying() -> DelayingRateLimitLayer {
    let quota = Quota::per_second(1000).unwrap();
    DelayingRateLimitLayer::new(quota, Duration::from_secs(1)).unwrap()
}

fn in_flight() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1000).unwrap()
}

fn queue() -> QueuedConcurrencyLimitLayer {
    in_flight().queue(Queue::new(100, Duration::from_secs(1)).unwrap())
}

fn log() -> LogLayer {
    LogLayer::new()
}

fn metrics() -> MetricsLayer {
    MetricsLayer::new().registry(Registry::new())
}

fn retry() -> RetryLayer<NoProtocol, Always> {
    RetryLayer::new().idempotent()
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::new(Duration::from_secs(90)).unwrap()
}

macro_rules! keeps_the_laws {
    ($calls:ident, $layer:expr) => {
        run_paused(async {
            use towerkit_test::$calls as Calls;
            laws::calls_come_after_readiness::<Calls, _>(Subject::new($layer)).await;
            laws::a_dropped_call_releases_all::<Calls, _>(|| Subject::new($layer)).await;
            laws::a_panic_releases_all::<Calls, _>(|| Subject::new($layer)).await;
        })
    };
}

macro_rules! nested {
    ($($outer:ident: [$($inner:ident)+])+) => {
        mod plain {
            $(mod $outer { $(
                #[test]
                fn $inner() {
                    use crate::pairs::*;
                    keeps_the_laws!(
                        PlainClient,
                        Stack::new(crate::pairs::$inner().plain("inner"), crate::pairs::$outer().plain("outer"))
                    );
                }
            )+ })+
        }
        mod http {
            $(mod $outer { $(
                #[test]
                fn $inner() {
                    use crate::pairs::*;
                    keeps_the_laws!(HttpClient, Stack::new(crate::pairs::$inner().http(), crate::pairs::$outer().http()));
                }
            )+ })+
        }
    };
}

macro_rules! fused {
    ($($outer:ident: [$($inner:ident)+])+) => {
        mod fused {
            $(mod $outer { $(
                #[test]
                fn $inner() {
                    use crate::pairs::*;
                    keeps_the_laws!(PlainClient, stack((crate::pairs::$outer(), crate::pairs::$inner())).plain("policy stack"));
                    keeps_the_laws!(HttpClient, stack((crate::pairs::$outer(), crate::pairs::$inner())).http());
                    keeps_the_laws!(GrpcClient, stack((crate::pairs::$outer(), crate::pairs::$inner())).grpc());
                }
            )+ })+
        }
    };
}

nested! {
    breaker: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    by_key: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    cache: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    coalesce: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    delaying: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    hedge: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    in_flight: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    limit: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    log: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    metrics: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    queue: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    retry: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
    timeout: [breaker by_key cache coalesce delaying hedge in_flight limit log metrics queue retry timeout]
}

fused! {
    breaker: [breaker by_key delaying in_flight limit log metrics queue]
    by_key: [breaker by_key delaying in_flight limit log metrics queue]
    delaying: [breaker by_key delaying in_flight limit log metrics queue]
    in_flight: [breaker by_key delaying in_flight limit log metrics queue]
    limit: [breaker by_key delaying in_flight limit log metrics queue]
    log: [breaker by_key delaying in_flight limit log metrics queue]
    metrics: [breaker by_key delaying in_flight limit log metrics queue]
    queue: [breaker by_key delaying in_flight limit log metrics queue]
}
