//! The behaviour for callers, over a [`MemoryStore`] in paused time; `tests/it/servers` tests it against real servers.

use std::{
    fmt::Display,
    future::{Ready, ready},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{
    Admission, AsyncGuard, BoxError, Call, Event, IntoPolicy, LayerExt, Plain, Rejection,
    RejectionReason, stack,
};
use towerkit_ratelimit::Quota;
use towerkit_test::{Action, PlainClient, Probe, Subject, contract, laws, run_paused, tokio_clock};

use crate::{
    ByHeader, KeyExtractor, RedisRateLimitLayer, WhenFull,
    memory_store::{MemoryStore, Reply},
    store::{Grant, StoreError},
};

mod keys;
mod limits;
mod outages;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

fn layer(memory: &MemoryStore, quota: Quota) -> RedisRateLimitLayer {
    RedisRateLimitLayer::with_store(Arc::new(memory.clone()), quota)
        .unwrap()
        .clock(tokio_clock())
}

/// Returns a layer with leased tokens, as in the steady state.
fn with_lease() -> RedisRateLimitLayer {
    let layer = without_lease();
    let service = service(&layer);
    while layer.handle().snapshot().tokens < 10 {
        assert!(call_now(&service, "Ann").unwrap().is_ok());
    }
    layer
}

/// Returns a layer that asks the store before it admits a call.
fn without_lease() -> RedisRateLimitLayer {
    layer(&MemoryStore::new(Duration::ZERO), quota(1000, 1000))
}

/// Returns a layer whose store answers after 2 ms.
fn with_slow_store() -> RedisRateLimitLayer {
    layer(&MemoryStore::new(2 * MILLI), quota(1000, 1000))
}

contract!(
    plain,
    PlainClient,
    Subject::new(with_lease().plain("probe"))
);
contract!(
    in_a_row,
    PlainClient,
    Subject::new(stack((with_lease(), with_lease())).plain("probe"))
);

/// T-01, T-04, T-06, T-08 for calls that wait.
#[test]
fn the_laws_hold_for_calls_that_wait() {
    run_paused(async {
        laws::calls_come_after_readiness::<PlainClient, _>(Subject::new(without_lease())).await;
        laws::a_panic_releases_all::<PlainClient, _>(|| Subject::new(without_lease())).await;
        laws::calls_that_wait_do_not_spin::<PlainClient, _>(|| Subject::new(with_slow_store()))
            .await;
        laws::errors_pass_unchanged::<PlainClient, _>(|| Subject::new(without_lease())).await;
    });
}

/// T-03
#[test]
fn a_call_that_waits_may_be_dropped_at_any_time() {
    run_paused(async {
        for polls in 0..=2 {
            let probe = Probe::new();
            let counts = probe.counts();
            let mut call = Box::pin(with_slow_store().layer(probe).oneshot(Action::Pend(9)));
            for _ in 0..polls {
                let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                advance(2 * MILLI).await;
            }
            drop(call);
            assert_eq!(counts.started(), if polls == 2 { 1 } else { 0 });
            assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
        }
    });
}

type Answer = fn(&'static str) -> Ready<Result<(), BoxError>>;

/// Returns a service whose requests are the names of callers.
fn service<K: KeyExtractor<&'static str, Key: Display> + 'static>(
    layer: &RedisRateLimitLayer<K>,
) -> impl Service<&'static str, Response = (), Error = BoxError> + Clone + use<K> {
    let answer: Answer = |_| ready(Ok(()));
    layer.layer(service_fn(answer))
}

fn request_key(call: &Call<'_, &'static str>) -> Option<&'static str> {
    Some(*call.request)
}

async fn call<S>(service: &S, name: &'static str) -> Result<(), Rejection>
where
    S: Service<&'static str, Response = (), Error = BoxError> + Clone,
{
    let rejected = |error: BoxError| error.downcast_ref::<Rejection>().unwrap().clone();
    service.clone().oneshot(name).await.map_err(rejected)
}

/// Returns the result of a call that does not wait; `None` if the call waits.
fn call_now<S>(service: &S, name: &'static str) -> Option<Result<(), Rejection>>
where
    S: Service<&'static str, Response = (), Error = BoxError> + Clone,
{
    call(service, name).now_or_never()
}

/// Calls at a fixed interval; returns the number of admitted calls and the number of calls that waited.
async fn call_every<S>(service: &S, calls: u32, interval: Duration) -> (u32, u32)
where
    S: Service<&'static str, Response = (), Error = BoxError> + Clone,
{
    let (mut admitted, mut waited) = (0, 0);
    for _ in 0..calls {
        let begun = Instant::now();
        admitted += u32::from(call(service, "Ann").await.is_ok());
        waited += u32::from(!begun.elapsed().is_zero());
        sleep(interval).await;
    }
    (admitted, waited)
}

fn reasons<const N: usize>(results: [Result<(), Rejection>; N]) -> [Option<RejectionReason>; N] {
    results.map(|result| result.err().map(|rejection| rejection.reason()))
}
