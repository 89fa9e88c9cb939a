//! T-11: every ordered pair of layers keeps the laws T-01, T-03 and T-04, nested over a plain service and over HTTP, and every
//! ordered pair of guards and observers does so fused into one row.

use std::time::Duration;

use tower_layer::Stack;
use towerkit::{
    circuitbreaker::CircuitBreakerLayer,
    concurrency::{ConcurrencyLimitLayer, Queue, QueuedLimitLayer},
    core::{LayerExt, Plain, stack},
    hedge::HedgeLayer,
    http::HttpExt,
    log::LogLayer,
    metrics::{MetricsLayer, Registry},
    ratelimit::{Quota, RateLimitLayer},
    retry::{Always, RetryLayer},
    timeout::TimeoutLayer,
};
use towerkit_test::{Subject, laws, run_paused};

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new()
}

fn hedge() -> HedgeLayer<Plain, Always> {
    let after = HedgeLayer::after(Duration::from_secs(60));
    after.unwrap().idempotent()
}

fn limit() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_second(1000).unwrap())
}

fn in_flight() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1000).unwrap()
}

fn queue() -> QueuedLimitLayer {
    in_flight().queue(Queue::new(100, Duration::from_secs(1)).unwrap())
}

fn log() -> LogLayer {
    LogLayer::new()
}

fn metrics() -> MetricsLayer {
    MetricsLayer::new().registry(Registry::new())
}

fn retry() -> RetryLayer<Plain, Always> {
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
                    use crate::*;
                    keeps_the_laws!(
                        PlainCalls,
                        Stack::new(crate::$inner().plain("inner"), crate::$outer().plain("outer"))
                    );
                }
            )+ })+
        }
        mod http {
            $(mod $outer { $(
                #[test]
                fn $inner() {
                    use crate::*;
                    keeps_the_laws!(HttpCalls, Stack::new(crate::$inner().http(), crate::$outer().http()));
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
                    use crate::*;
                    keeps_the_laws!(PlainCalls, stack((crate::$outer(), crate::$inner())).plain("row"));
                    keeps_the_laws!(HttpCalls, stack((crate::$outer(), crate::$inner())).http());
                    keeps_the_laws!(GrpcCalls, stack((crate::$outer(), crate::$inner())).grpc());
                }
            )+ })+
        }
    };
}

nested! {
    breaker: [breaker hedge in_flight limit log metrics queue retry timeout]
    hedge: [breaker hedge in_flight limit log metrics queue retry timeout]
    in_flight: [breaker hedge in_flight limit log metrics queue retry timeout]
    limit: [breaker hedge in_flight limit log metrics queue retry timeout]
    log: [breaker hedge in_flight limit log metrics queue retry timeout]
    metrics: [breaker hedge in_flight limit log metrics queue retry timeout]
    queue: [breaker hedge in_flight limit log metrics queue retry timeout]
    retry: [breaker hedge in_flight limit log metrics queue retry timeout]
    timeout: [breaker hedge in_flight limit log metrics queue retry timeout]
}

fused! {
    breaker: [breaker in_flight limit log metrics queue]
    in_flight: [breaker in_flight limit log metrics queue]
    limit: [breaker in_flight limit log metrics queue]
    log: [breaker in_flight limit log metrics queue]
    metrics: [breaker in_flight limit log metrics queue]
    queue: [breaker in_flight limit log metrics queue]
}
