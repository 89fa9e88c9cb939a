//! Calls that go to another instance: after a rejection by a guard, in a retry, and in a hedge.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use towerkit_balance::{Maglev, P2c, RoundRobin};
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{
    BoxError, Call, CallEnd, LayerExt, Observer, Outcome, Plain, Policy, Rejection,
    RejectionReason, observe,
};
use towerkit_discovery::{Discovery, InstanceService};
use towerkit_hedge::HedgeLayer;
use towerkit_retry::{Budget, RetryLayer};
use towerkit_test::tokio_clock;
use towerkit_timeout::TimeoutLayer;

use super::setup::{Guards, MS, Replying, SECOND, instances, layer, number};

/// Makes instances that fail if their number says so, each with guards of its own.
fn guarded<G: Guards, L: towerkit_core::IntoPolicy<Policy = G>>(
    count: u16,
    fails: impl Fn(u16) -> bool + Clone + Send + Sync + 'static,
    guards: impl Fn() -> L + Send + Sync + 'static,
) -> towerkit_discovery::Endpoints<Dead, G> {
    Discovery::fixed(instances(count)).endpoints(move |instance| {
        let number = number(instance);
        InstanceService::new(Dead {
            number,
            fails: fails(number),
        })
        .guards(guards())
    })
}

/// Fails at once, or succeeds with its number.
#[derive(Clone)]
struct Dead {
    number: u16,
    fails: bool,
}

impl Service<u64> for Dead {
    type Response = u16;
    type Error = BoxError;
    type Future = std::future::Ready<Result<u16, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: u64) -> Self::Future {
        std::future::ready(if self.fails {
            Err("dead".into())
        } else {
            Ok(self.number)
        })
    }
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new()
        .open_when(OpenWhen::consecutive_failures(2).unwrap())
        .open_for(10 * SECOND)
        .unwrap()
        .clock(tokio_clock())
}

fn reason(error: &BoxError) -> Option<RejectionReason> {
    error.downcast_ref::<Rejection>().map(Rejection::reason)
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_sends_calls_to_other_instances() {
    let service = layer(RoundRobin::new()).layer(guarded(3, |n| n == 0, breaker));
    let mut failed = 0;
    let mut served = [0; 3];
    for request in 0..300 {
        match service.clone().oneshot(request).await {
            Ok(number) => served[usize::from(number)] += 1,
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 2);
    assert_eq!(served, [0, 149, 149]);
    // A probe after the time: it fails, and is the only one.
    tokio::time::sleep(11 * SECOND).await;
    let mut failed = 0;
    for request in 0..100 {
        failed += u32::from(service.clone().oneshot(request).await.is_err());
    }
    assert_eq!(failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_all_guards_reject_is_rejected_as_by_the_last() {
    let service = layer(P2c::new()).layer(guarded(3, |_| true, breaker));
    let mut reasons = Vec::new();
    for request in 0..20 {
        reasons.push(reason(&service.clone().oneshot(request).await.unwrap_err()));
    }
    assert!(
        reasons[..6]
            .iter()
            .filter(|reason| reason.is_none())
            .count()
            == 6,
        "{reasons:?}"
    );
    assert!(
        reasons[6..]
            .iter()
            .all(|reason| *reason == Some(RejectionReason::CircuitOpen)),
        "{reasons:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_limits_of_all_instances_are_rejected() {
    let endpoints = Discovery::fixed(instances(2)).endpoints(|_| {
        let sleeps = service_fn(|_: u64| async {
            tokio::time::sleep(10 * MS).await;
            Ok::<_, BoxError>(0u16)
        });
        InstanceService::new(sleeps).guards(ConcurrencyLimitLayer::new(2).unwrap())
    });
    let service = layer(P2c::new()).layer(endpoints);
    for _ in 0..20 {
        let calls = (0..5).map(|request| service.clone().oneshot(request));
        let results = futures_of(calls).await;
        let rejected: Vec<_> = results
            .iter()
            .filter_map(|result| reason(result.as_ref().err()?))
            .collect();
        assert_eq!(rejected, [RejectionReason::Overloaded]);
    }
}

async fn futures_of<F: Future<Output: Send + 'static> + Send + 'static>(
    futures: impl Iterator<Item = F>,
) -> Vec<F::Output> {
    let tasks: Vec<_> = futures.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// How calls ended, and why those that were rejected were.
type CallEnds = Vec<(Outcome, Option<RejectionReason>)>;

/// Records the ends of calls.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<CallEnds>>);

impl Policy for Ends {
    type CallState = ();
    fn finish(&self, (): (), end: &CallEnd) {
        self.0
            .lock()
            .unwrap()
            .push((end.outcome(), end.rejection_reason()));
    }
}

impl Observer<u64> for Ends {
    fn start(&self, _call: &mut Call<'_, u64>) {}
}

/// Each observer sees the rejection by its own instance, although one call was at several.
#[tokio::test(start_paused = true)]
async fn observers_of_an_instance_see_its_rejections() {
    let ends = Ends::default();
    let observer = ends.clone();
    let next = std::sync::atomic::AtomicU16::new(0);
    let endpoints = Discovery::fixed(instances(2)).endpoints(move |instance| {
        let number = number(instance);
        let (breaker, limit) = (breaker(), ConcurrencyLimitLayer::new(1).unwrap());
        // The first rejects with an open breaker, the second because its limit is used up.
        let (breaker_handle, limit_handle) = (breaker.handle(), limit.handle());
        if next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            breaker_handle.force_open();
        }
        let _ = limit_handle;
        InstanceService::new(service_fn(move |_: u64| async move {
            tokio::time::sleep(SECOND).await;
            Ok::<_, BoxError>(number)
        }))
        .guards((observe(observer.clone()), breaker, limit))
    });
    let service = layer(RoundRobin::starting_at(0)).layer(endpoints);
    let first = tokio::spawn(service.clone().oneshot(0));
    tokio::task::yield_now().await;
    let second = service.clone().oneshot(1).await.unwrap_err();
    assert!(reason(&second).is_some());
    assert_eq!(first.await.unwrap().unwrap(), 1);
    let mut counts = BTreeMap::new();
    for (outcome, reason) in &*ends.0.lock().unwrap() {
        *counts.entry(format!("{outcome} {reason:?}")).or_insert(0) += 1;
    }
    assert!(counts["overloaded Some(CircuitOpen)"] >= 2, "{counts:?}");
    assert!(counts["overloaded Some(Overloaded)"] >= 1, "{counts:?}");
    assert_eq!(counts["success None"], 1);
    assert_eq!(counts.len(), 3, "{counts:?}");
}

fn retry() -> RetryLayer<Plain, towerkit_retry::Always> {
    RetryLayer::new()
        .budget(Budget::new(10.0, 1_000).unwrap())
        .idempotent()
        .plain("test")
}

/// Two instances, one of them dead behind its breaker.
#[tokio::test(start_paused = true)]
async fn one_dead_instance_of_two_fails_no_call_with_a_retry() {
    let with_retry = retry().layer(layer(P2c::new()).layer(guarded(2, |n| n == 0, breaker)));
    for request in 0..1_000 {
        assert_eq!(with_retry.clone().oneshot(request).await.unwrap(), 1);
    }
    let without = layer(P2c::new()).layer(guarded(2, |n| n == 0, breaker));
    let mut failed = 0;
    for request in 0..1_000 {
        failed += u32::from(without.clone().oneshot(request).await.is_err());
    }
    assert!(failed <= 10, "{failed}");
}

/// Counts the calls whose attempts went to one instance twice, while another was left.
async fn repeats<S>(attempts: Arc<Mutex<Vec<(u64, u16)>>>, service: S, calls: u64) -> usize
where
    S: Service<u64, Response = u16, Error = BoxError> + Clone,
{
    for request in 0..calls {
        let _ = service.clone().oneshot(request).await;
    }
    let mut by_call: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
    for (request, number) in &*attempts.lock().unwrap() {
        by_call.entry(*request).or_default().push(*number);
    }
    assert_eq!(by_call.len() as u64, calls);
    by_call
        .values()
        .filter(|numbers| {
            assert!(numbers.len() > 1);
            numbers[0] == numbers[1]
        })
        .count()
}

type Attempts = Arc<Mutex<Vec<(u64, u16)>>>;

fn recording(
    count: u16,
    attempts: &Attempts,
    wait: Duration,
    fails: bool,
) -> towerkit_discovery::Endpoints<
    impl Service<u64, Response = u16, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
> {
    let attempts = attempts.clone();
    Discovery::fixed(instances(count)).endpoints(move |instance| {
        let (attempts, number) = (attempts.clone(), number(instance));
        InstanceService::new(service_fn(move |request: u64| {
            attempts.lock().unwrap().push((request, number));
            async move {
                tokio::time::sleep(wait).await;
                if fails {
                    Err(BoxError::from("broken"))
                } else {
                    Ok(number)
                }
            }
        }))
    })
}

/// envoy 2259 and 4859, finagle 585, spring-cloud-commons 747, ingress-nginx 11852: a retry went to the same host.
#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_another_instance_through_all_layers_between() {
    for count in [2, 3, 10] {
        let attempts = Attempts::default();
        let service = ServiceBuilder::new()
            .layer(retry())
            .layer(TimeoutLayer::new(SECOND).unwrap().plain("test"))
            .layer(
                HedgeLayer::after(SECOND)
                    .unwrap()
                    .idempotent()
                    .plain("test"),
            )
            .layer(layer(P2c::new()))
            .service(recording(count, &attempts, MS, true));
        assert_eq!(repeats(attempts, service, 200).await, 0, "of {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_with_one_instance_goes_there_again() {
    let attempts = Attempts::default();
    let service = ServiceBuilder::new()
        .layer(retry())
        .layer(layer(P2c::new()))
        .service(recording(1, &attempts, MS, true));
    assert_eq!(repeats(attempts, service, 20).await, 20);
}

/// A hedge behind a sticky choice would go to the instance that is slow.
#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_another_instance() {
    let key = |_: &Call<'_, u64>| Some("always the same");
    for count in [2, 3, 10] {
        let attempts = Attempts::default();
        let service = ServiceBuilder::new()
            .layer(
                HedgeLayer::after(10 * MS)
                    .unwrap()
                    .cap(1.0, 100)
                    .unwrap()
                    .idempotent()
                    .plain("test"),
            )
            .layer(layer(Maglev::new(key)))
            .service(recording(count, &attempts, 15 * MS, false));
        assert_eq!(repeats(attempts, service, 200).await, 0, "of {count}");
    }
}

/// Without a retry no instance is avoided, so that clones and calls share nothing.
#[tokio::test(start_paused = true)]
async fn calls_avoid_no_instance_of_other_calls() {
    let attempts = Attempts::default();
    let service = ServiceBuilder::new()
        .layer(retry())
        .layer(layer(RoundRobin::starting_at(0)))
        .service(recording(3, &attempts, MS, false));
    for request in 0..9 {
        assert_eq!(
            service.clone().oneshot(request).await.unwrap(),
            (request % 3) as u16
        );
    }
}

#[expect(dead_code, reason = "a type that the tests share")]
fn uses(_: Replying) {}
