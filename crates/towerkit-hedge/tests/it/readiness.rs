//! Each attempt has its own readiness.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};
use towerkit_core::{Deadline, LayerExt};
use towerkit_hedge::HedgeLayer;
use towerkit_test::{Action, Probe};

use crate::{
    backend::{Backend, MS, reply},
    call, get, layer, number, start,
};

/// T-02
#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_readiness() {
    let probe = Probe::new();
    let counts = probe.counts();
    let layer = HedgeLayer::after(50 * MS).unwrap().idempotent();
    let service = layer.max_hedges(2).unwrap().plain("nap").layer(probe);
    service.oneshot(Action::Sleep(300 * MS)).await.unwrap();
    assert_eq!((counts.started(), counts.violations()), (3, 0));
    assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_waits_for_readiness_without_delaying_the_first_attempt() {
    let late = reply(10 * MS, 200).ready_after(100 * MS);
    for (first, winner, at) in [(120, 0, 120), (500, 1, 160)] {
        let backend = Backend::new([reply(first * MS, 200), late]);
        let layer = layer();
        let started = Instant::now();
        let response = call(&layer, &backend, get()).await.unwrap();
        assert_eq!(
            (started.elapsed(), number(response).await),
            (at * MS, winner)
        );
        // Only hedges that were sent cost a token.
        let spent = 10 - layer.handle().snapshot().available;
        assert_eq!(spent as usize, backend.times().len() - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_one_hedge_waits_for_readiness_at_a_time() {
    let late = reply(10 * MS, 200).ready_after(500 * MS);
    let backend = Backend::new([reply(300 * MS, 200), late, reply(Duration::ZERO, 200)]);
    let layer = layer().max_hedges(4).unwrap();
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!((number(response).await, backend.times().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_wait_for_a_hedge_that_is_not_ready() {
    let late = reply(10 * MS, 200).ready_after(100 * MS);
    for failed_at in [20, 80] {
        let backend = Backend::new([reply(failed_at * MS, 500), late]);
        let started = Instant::now();
        let response = call(&layer(), &backend, get()).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), started.elapsed()),
            (500, failed_at * MS)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_readiness_error_of_a_hedge_does_not_fail_the_call() {
    let broken = reply(Duration::ZERO, 200).never_ready();
    let layer = layer().max_hedges(4).unwrap();
    for status in [200, 500] {
        let backend = Backend::new([reply(300 * MS, status), broken]);
        let response = call(&layer, &backend, get()).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), backend.times().len()),
            (status, 1)
        );
    }
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.hedges, snapshot.available), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn a_pushback_cancels_a_hedge_that_waits_for_readiness() {
    let late = reply(Duration::ZERO, 200).ready_after(100 * MS);
    let pushing = reply(70 * MS, 503).with_header("grpc-retry-pushback-ms", "-1");
    let layer = layer().max_hedges(2).unwrap();
    // The first hedge, sent at 50 ms, pushes back at 120 ms, when the second has been waiting since 100 ms.
    let backend = Backend::new([reply(400 * MS, 200), pushing, late]);
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!((number(response).await, backend.times().len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_becomes_ready_after_the_deadline_is_not_sent() {
    let late = reply(Duration::ZERO, 200).ready_after(100 * MS);
    let clock = towerkit_test::tokio_clock();
    for (left, attempts) in [(140, 1), (160, 2)] {
        let backend = Backend::new([reply(400 * MS, 200), late]);
        let mut request = get();
        let deadline = Deadline::after(&clock, left * MS);
        request.extensions_mut().insert(deadline);
        call(&layer(), &backend, request).await.unwrap();
        assert_eq!(backend.times().len(), attempts, "{left}");
    }
}

/// T-03: the call is dropped after any number of polls, with two hedges, of which one waits for readiness.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_with_hedges_in_flight_releases_all() {
    for polls in 0..40 {
        let late = reply(300 * MS, 200).ready_after(100 * MS);
        let backend = Backend::new([reply(350 * MS, 200), reply(300 * MS, 500), late]);
        let layer = layer().max_hedges(2).unwrap();
        let mut service = layer.layer(backend.clone());
        {
            let mut call = pin!(start(&mut service).await);
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if call.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
                advance(10 * MS).await;
            }
            if (6..20).contains(&polls) {
                assert!(backend.in_flight() >= 2, "{polls}");
            }
        }
        assert_eq!(backend.in_flight(), 0, "{polls}");
        let (seen, snapshot) = (backend.times().len(), layer.handle().snapshot());
        assert_eq!(snapshot.hedges as usize, seen - 1, "{polls}");
        assert_eq!(snapshot.available as usize, 10 - (seen - 1), "{polls}");
    }
}

/// T-04: a panic of a hedge is a panic of the call.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_panics_releases_all() {
    let probe = Probe::new();
    let counts = probe.counts();
    let layer = HedgeLayer::after(50 * MS).unwrap().idempotent();
    // The first attempt sleeps, and the hedge panics.
    let mut attempts = 0;
    let service = tower::util::MapRequest::new(probe, move |action| {
        attempts += 1;
        if attempts == 1 {
            Action::PanicInFuture
        } else {
            action
        }
    });
    let service = layer.plain("nap").layer(service);
    let call = tokio::spawn(service.oneshot(Action::Sleep(300 * MS)));
    assert!(call.await.unwrap_err().is_panic());
    assert_eq!(counts.in_flight(), 0);
}
