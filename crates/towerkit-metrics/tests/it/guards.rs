//! A8.4: the events of real guards and drivers, with the registry as their sink.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tower::{ServiceBuilder, ServiceExt, service_fn};
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};
use towerkit_core::{BoxError, Clock, LayerExt};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_retry::RetryLayer;

use crate::scrape::Scraped;

/// A client of an upstream that fails and then recovers: calls are retried and give up, and the breaker opens, rejects, probes and closes.
#[tokio::test(start_paused = true)]
async fn an_outage_is_visible_in_every_metric() {
    let registry = Registry::new();
    let (clock, clock_control) = Clock::manual();
    let breaker = CircuitBreakerLayer::new()
        .name("search")
        .open_when(OpenWhen::consecutive_failures(3).unwrap())
        .open_for(Duration::from_secs(5))
        .unwrap()
        .clock(clock)
        .events(registry.clone());
    let retry = RetryLayer::new()
        .name("search")
        .idempotent()
        .events(registry.clone());
    let metrics = MetricsLayer::new().registry(registry.clone());
    let is_well = Arc::new(AtomicBool::new(false));
    let callee = is_well.clone();
    let service = ServiceBuilder::new()
        .layer(metrics.plain("search"))
        .layer(retry.plain("search"))
        .layer(breaker)
        .service(service_fn(move |()| {
            let is_well = callee.load(Relaxed);
            async move { is_well.then_some(()).ok_or(BoxError::from("down")) }
        }));
    let shown = |name: &str, labels: &[(&str, &str)]| Scraped::of(&registry).value(name, labels);
    let in_state = |state| shown("towerkit_circuits", &[("name", "search"), ("state", state)]);

    // Three attempts, of which the last one opens the breaker.
    assert!(service.clone().oneshot(()).await.is_err());
    let retried = [("name", "search"), ("outcome", "failure")];
    assert_eq!(shown("towerkit_retries_total", &retried), Some(2.0));
    let given_up = [("name", "search"), ("reason", "attempts")];
    assert_eq!(shown("towerkit_retry_given_up_total", &given_up), Some(1.0));
    assert_eq!(in_state("open"), Some(1.0));

    assert!(service.clone().oneshot(()).await.is_err());
    let rejected = [("operation", "search"), ("reason", "circuit_open")];
    assert_eq!(shown("towerkit_calls_rejected_total", &rejected), Some(1.0));

    is_well.store(true, Relaxed);
    clock_control.advance(Duration::from_secs(5));
    service.oneshot(()).await.unwrap();
    assert_eq!(
        (in_state("open"), in_state("half_open")),
        (Some(0.0), Some(0.0))
    );
    let transitions = Scraped::of(&registry).all("towerkit_circuit_transitions_total");
    assert_eq!(transitions, [1.0; 3]);
    let count = "towerkit_call_duration_seconds_count";
    for outcome in ["failure", "overloaded", "success"] {
        let labels = [("operation", "search"), ("outcome", outcome)];
        assert_eq!(shown(count, &labels), Some(1.0), "{outcome}");
    }
}
