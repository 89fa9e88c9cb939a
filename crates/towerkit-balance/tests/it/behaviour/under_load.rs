//! Changes of the set under a steady load, and what a call costs beside a slow instance.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use towerkit_balance::{P2c, PeakEwma, Picker, RoundRobin};
use towerkit_core::{BoxError, LayerExt};
use towerkit_discovery::{Discovery, InstanceService, MemoryRegistry, Registrar};
use towerkit_metrics::{MetricsLayer, Registry, WithLabels};
use towerkit_retry::RetryLayer;

use super::setup::{MS, SECOND, address, count, instance, instances, layer, number, replying};

/// An open loop: so many calls a second for a time, whether or not earlier ones have ended. Returns the results with their latencies.
async fn open_loop<S>(
    service: &S,
    per_second: u32,
    time: Duration,
) -> Vec<(Duration, Result<u16, BoxError>)>
where
    S: Service<u64, Response = u16, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let mut calls = JoinSet::new();
    let start = Instant::now();
    // Times of tokio are whole milliseconds: several calls begin at one.
    for number in 0..(f64::from(per_second) * time.as_secs_f64()) as u32 {
        sleep_until(start + SECOND * number / per_second).await;
        let service = service.clone();
        calls.spawn(async move {
            let start = Instant::now();
            let result = service.oneshot(number.into()).await;
            (start.elapsed(), result)
        });
    }
    calls.join_all().await
}

/// linkerd2 6842, 8956: the last call to an instance is at most 100 ms after its deregistration.
#[tokio::test(start_paused = true)]
async fn an_instance_that_is_deregistered_under_load_gets_its_last_call_within_100_ms() {
    let registry = MemoryRegistry::new();
    for instance in instances(2) {
        registry.insert("strings", instance);
    }
    let registration = Registrar::new(registry.service("strings"), instance(2)).spawn();
    registration.registered().await;
    let discovery = Discovery::spawn(registry.service("strings"));
    assert_eq!(discovery.ready().await.instances.len(), 3);

    let layer = layer(P2c::new());
    let handle = layer.handle();
    let last_pick = Arc::new(Mutex::new(None));
    let (picked, seen) = (last_pick.clone(), handle.clone());
    let endpoints = replying(&discovery, move |number| {
        if number == 2 {
            *picked.lock().unwrap() = Some(Instant::now());
            // The balancer has not seen the event yet.
            assert_eq!(seen.snapshot().instances.len(), 3);
        }
        (5 * MS, Ok(()))
    });
    let service = layer.layer(endpoints);
    let load = tokio::spawn(async move {
        let results = open_loop(&service, 2_000, 2 * SECOND).await;
        (results, service)
    });

    sleep(SECOND).await;
    assert!(last_pick.lock().unwrap().unwrap().elapsed() < 10 * MS);
    let event = Instant::now();
    registration.stop(SECOND).await;
    let (results, _service) = load.await.unwrap();
    assert_eq!(results.len(), 4_000);
    assert!(results.iter().all(|(_, result)| result.is_ok()));
    let last_pick = last_pick.lock().unwrap().unwrap();
    assert_eq!(handle.snapshot().instances.len(), 2);
    let late = last_pick.saturating_duration_since(event);
    assert!(late <= 100 * MS, "{late:?}");
}

/// Returns the 99th percentile of latencies after a warm-up, of instances of which one is slower by `delay`, at 1,000 calls a second.
async fn p99_beside<C: Picker<u64>>(picker: C, count: u16, delay: Duration) -> Duration {
    let endpoints = replying(&Discovery::fixed(instances(count)), move |number| {
        let base = 5 * MS + Duration::from_micros(fastrand::u64(..10_000));
        (if number == 0 { base + delay } else { base }, Ok(()))
    });
    let service = layer(picker).layer(endpoints);
    open_loop(&service, 1_000, 10 * SECOND).await;
    let results = open_loop(&service, 1_000, 20 * SECOND).await;
    let mut latencies: Vec<_> = results.into_iter().map(|(latency, _)| latency).collect();
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}

/// The published test of Buoyant: one instance answers 200 ms later than the others.
///
/// P2C does not hold it: it sees only that the slow instance has more calls in flight, and its p99 was 208 ms with ten instances and
/// 212 ms with three, in place of 15 ms.
#[tokio::test(start_paused = true)]
async fn one_slow_instance_leaves_the_tail_of_an_open_loop_alone() {
    for count in [3, 10] {
        let well = p99_beside(PeakEwma::new(), count, Duration::ZERO).await;
        let slow = p99_beside(PeakEwma::new(), count, 200 * MS).await;
        assert!(
            slow.as_secs_f64() <= 1.3 * well.as_secs_f64(),
            "{slow:?} instead of {well:?}, {count} instances"
        );
    }
}

/// Each instance of three is taken out while it fails its calls, and put in again, five times.
#[tokio::test(start_paused = true)]
async fn rolling_restarts_fail_no_call() {
    let registry = MemoryRegistry::new();
    for instance in instances(3) {
        registry.insert("strings", instance);
    }
    let discovery = Discovery::spawn(registry.service("strings"));
    discovery.ready().await;
    let down = Arc::new(Mutex::new(None));
    let is_down = down.clone();
    let endpoints = replying(&discovery, move |number| {
        if *is_down.lock().unwrap() == Some(number) {
            return (Duration::ZERO, Err("no connection"));
        }
        (5 * MS, Ok(()))
    });
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().idempotent().plain("test"))
        .layer(layer(P2c::new()))
        .service(endpoints);
    let load = tokio::spawn(async move { open_loop(&service, 500, 25 * SECOND).await });
    for _ in 0..5 {
        for number in 0..3 {
            sleep(500 * MS).await;
            // It stops before the registry knows.
            *down.lock().unwrap() = Some(number);
            sleep(50 * MS).await;
            assert!(registry.remove("strings", &address(number)));
            sleep(500 * MS).await;
            *down.lock().unwrap() = None;
            registry.insert("strings", instance(number));
        }
    }
    assert!(!load.is_finished());
    let results = load.await.unwrap();
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    assert_eq!((results.len(), failed), (12_500, 0));
}

/// The metrics of instances that come and go are bounded, however many addresses there were.
#[tokio::test(start_paused = true)]
async fn the_series_of_instances_are_bounded() {
    let registry = Registry::with_max_series(NonZeroUsize::new(20).unwrap());
    let metrics = registry.clone();
    let (discovery, sender) = Discovery::channel();
    let endpoints = discovery.endpoints(move |instance| {
        let address = instance.address.to_string();
        let labeled = WithLabels::new(metrics.clone()).label("instance", address);
        let number = number(instance);
        InstanceService::new(service_fn(move |_: u64| async move {
            Ok::<_, BoxError>(number)
        }))
        .guards(MetricsLayer::new().registry(labeled))
    });
    let layer = layer(RoundRobin::new()).events(registry.clone());
    let handle = layer.handle();
    let service = layer.layer(endpoints);
    for first in 0..500 {
        sender.set((first..first + 3).map(instance));
        count(&service, 510, 3).await;
        assert_eq!(handle.snapshot().instances.len(), 3);
    }
    let text = registry.render();
    let of_instances = text.lines().filter(|line| {
        line.starts_with("towerkit_call_duration_seconds_count{") && line.contains("instance=")
    });
    assert!((10..=21).contains(&of_instances.count()), "{text}");
    assert!(text.contains("_OTHER"), "{text}");
}
