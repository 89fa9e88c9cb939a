//! The first success wins, and the other attempts are dropped.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tokio::{
    task::{coop, yield_now},
    time::{Instant, advance, sleep},
};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{
    AttemptedInstances, BoxError, CarriesRejection, Clock, Deadline, LayerExt, Rejection,
    RejectionReason,
};
use towerkit_hedge::HedgeLayer;

use crate::{
    backend::{Backend, MS, Reply, reply},
    call, get, layer, number, start,
};

/// HG-01
#[tokio::test(start_paused = true)]
async fn the_losers_are_dropped_in_the_poll_that_knows_the_winner() {
    // The winner, and the time of its response.
    for (first, hedge, winner, at) in [(500, 20, 1, 70), (60, 500, 0, 60)] {
        let backend = Backend::new([reply(first * MS, 200), reply(hedge * MS, 200)]);
        let mut service = layer().layer(backend.clone());
        let started = Instant::now();
        let mut call = pin!(start(&mut service).await);
        let response = call.as_mut().await.unwrap();
        // The future has not been dropped.
        assert_eq!(backend.in_flight(), 0);
        assert_eq!(backend.times().len(), 2);
        assert_eq!(started.elapsed(), at * MS);
        assert_eq!(number(response).await, winner);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_before_the_delay_is_sent_once() {
    for after in [0, 49] {
        let backend = Backend::new([reply(after * MS, 200)]);
        call(&layer(), &backend, get()).await.unwrap();
        assert_eq!(backend.times().len(), 1);
    }
}

/// A call that is ready at once needs no timer, and so no runtime.
#[test]
fn a_call_that_is_ready_at_once_creates_no_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let backend = runtime.block_on(async { Backend::new([reply(Duration::ZERO, 200)]) });
    let mut call = pin!(layer().layer(backend).oneshot(get()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_ready());
}

#[tokio::test(start_paused = true)]
async fn hedges_are_numbered_and_sent_at_equal_intervals() {
    let backend = Backend::new([reply(500 * MS, 200)]);
    let layer = layer().max_hedges(3).unwrap();
    let started = Instant::now();
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!(started.elapsed(), 500 * MS);
    assert_eq!(number(response).await, 0);
    let hedges: Vec<_> = backend.seen().into_iter().map(|seen| seen.hedge).collect();
    assert_eq!(
        hedges,
        [None, Some("1".into()), Some("2".into()), Some("3".into())]
    );
    assert_eq!(
        backend.times(),
        [Duration::ZERO, 50 * MS, 100 * MS, 150 * MS]
    );
    assert_eq!(backend.in_flight(), 0);
}

/// HG-05
#[tokio::test(start_paused = true)]
async fn after_a_failure_the_next_hedge_is_sent_at_once() {
    for status in [500, 503, 504, 429] {
        let backend = Backend::new([reply(10 * MS, status), reply(20 * MS, 200)]);
        let response = call(&layer(), &backend, get()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(backend.times(), [Duration::ZERO, 10 * MS], "{status}");
    }
}

/// HG-05: a hedge that is sent early because of a failure restarts the delay.
#[tokio::test(start_paused = true)]
async fn the_delay_restarts_after_a_hedge() {
    let backend = Backend::new([reply(30 * MS, 500), reply(500 * MS, 200)]);
    let layer = layer().max_hedges(2).unwrap();
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!(number(response).await, 1);
    assert_eq!(backend.times(), [Duration::ZERO, 30 * MS, 80 * MS]);
}

/// HG-05
#[tokio::test(start_paused = true)]
async fn a_client_error_ends_the_race() {
    for status in [400, 404, 499] {
        let backend = Backend::new([reply(500 * MS, 200), reply(20 * MS, status)]);
        let started = Instant::now();
        let response = call(&layer(), &backend, get()).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!((started.elapsed(), backend.in_flight()), (70 * MS, 0));
    }
}

/// HG-05
#[tokio::test(start_paused = true)]
async fn any_success_wins_over_earlier_failures() {
    let layer = layer().max_hedges(2).unwrap();
    for winner in 0..3 {
        let status = |attempt| if attempt == winner { 200 } else { 500 };
        let backend = Backend::new([
            reply(300 * MS, status(0)),
            reply(100 * MS, status(1)),
            reply(100 * MS, status(2)),
        ]);
        let response = call(&layer, &backend, get()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(number(response).await, winner);
        assert_eq!(backend.in_flight(), 0);
    }
}

/// HG-05
#[tokio::test(start_paused = true)]
async fn if_all_fail_the_last_failure_is_the_result() {
    let backend = Backend::new([reply(100 * MS, 500), reply(20 * MS, 502)]);
    let response = call(&layer(), &backend, get()).await.unwrap();
    assert_eq!(response.status(), 500);
    let backend = Backend::new([reply(60 * MS, 500), reply(20 * MS, 502)]);
    let response = call(&layer(), &backend, get()).await.unwrap();
    assert_eq!(response.status(), 502);
}

#[tokio::test(start_paused = true)]
async fn a_pushback_without_a_time_ends_hedging() {
    let never = reply(20 * MS, 503).with_header("grpc-retry-pushback-ms", "-1");
    let backend = Backend::new([never, reply(Duration::ZERO, 200)]);
    let response = call(&layer(), &backend, get()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(backend.times().len(), 1);
    // Attempts in flight continue.
    let backend = Backend::new([reply(300 * MS, 200), never]);
    let layer = layer().max_hedges(4).unwrap();
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(backend.times(), [Duration::ZERO, 50 * MS]);
}

#[tokio::test(start_paused = true)]
async fn a_pushback_with_a_time_delays_the_next_hedge() {
    let later = |millis| reply(20 * MS, 503).with_header("grpc-retry-pushback-ms", millis);
    let layer = layer().max_hedges(2).unwrap();
    for (millis, next) in [("200", 270), ("10", 80), ("0", 70)] {
        let backend = Backend::new([reply(400 * MS, 200), later(millis), reply(400 * MS, 200)]);
        call(&layer, &backend, get()).await.unwrap();
        let times = backend.times();
        assert_eq!(times, [Duration::ZERO, 50 * MS, next * MS], "{millis}");
    }
    // No other attempt is in flight: an outer retry has to wait.
    let backend = Backend::new([later("200"), reply(Duration::ZERO, 200)]);
    let response = call(&layer, &backend, get()).await.unwrap();
    assert_eq!(
        (response.status(), backend.times().len()),
        (503.try_into().unwrap(), 1)
    );
}

fn rejection(reason: RejectionReason) -> Reply {
    reply(10 * MS, 0).rejected(reason)
}

/// RT-14 requires the same of retries.
#[tokio::test(start_paused = true)]
async fn a_rejection_by_an_inner_guard_is_not_hedged() {
    let backend = Backend::new([
        rejection(RejectionReason::CircuitOpen),
        reply(Duration::ZERO, 200),
    ]);
    let error = call(&layer(), &backend, get()).await.unwrap_err();
    let reason = error.rejection().map(Rejection::reason);
    assert_eq!(
        (reason, backend.times().len()),
        (Some(RejectionReason::CircuitOpen), 1)
    );
    // A rejected hedge does not end the call.
    let backend = Backend::new([
        reply(300 * MS, 200),
        rejection(RejectionReason::CircuitOpen),
    ]);
    let response = call(&layer(), &backend, get()).await.unwrap();
    assert_eq!(number(response).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_by_an_inner_layer_is_hedged() {
    let backend = Backend::new([rejection(RejectionReason::DeadlineExceeded), reply(MS, 200)]);
    let response = call(&layer(), &backend, get()).await.unwrap();
    assert_eq!(number(response).await, 1);
}

#[tokio::test(start_paused = true)]
async fn no_hedge_is_sent_past_the_deadline() {
    let clock = towerkit_test::tokio_clock();
    let within = |left: u32, clock: &Clock| {
        let mut request = get();
        let deadline = Deadline::after(clock, left * MS);
        request.extensions_mut().insert(deadline);
        request
    };
    for (left, attempts) in [(20, 1), (50, 1), (51, 2), (99, 2), (101, 3)] {
        let backend = Backend::new([reply(400 * MS, 200)]);
        let layer = layer().max_hedges(2).unwrap();
        call(&layer, &backend, within(left, &clock)).await.unwrap();
        assert_eq!(backend.times().len(), attempts, "{left}");
    }
    // Nor is one sent after a failure that comes too late.
    let backend = Backend::new([reply(30 * MS, 500), reply(Duration::ZERO, 200)]);
    let response = call(&layer(), &backend, within(30, &clock)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), backend.times().len()),
        (500, 1)
    );
}

/// A first attempt that uses up tokio's [cooperative budget](tokio::task::coop) in every poll delays neither the timer nor the hedge.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_uses_up_the_cooperative_budget_is_hedged() {
    let mut attempts = 0;
    let inner = service_fn(move |()| {
        attempts += 1;
        let is_first = attempts == 1;
        async move {
            if is_first {
                loop {
                    coop::consume_budget().await;
                }
            }
            sleep(20 * MS).await;
            Ok::<_, BoxError>(())
        }
    });
    let layer = HedgeLayer::after(50 * MS).unwrap().plain("greedy");
    // A clone continues the count of the first attempt.
    let service = layer.idempotent().layer(inner);
    let call = tokio::spawn(service.oneshot(()));
    for _ in 0..2 {
        yield_now().await;
        advance(51 * MS).await;
        for _ in 0..1000 {
            yield_now().await;
        }
    }
    assert!(call.is_finished());
    call.await.unwrap().unwrap();
}

/// A connection of HTTP/1 is reused only after the response was read.
#[tokio::test(start_paused = true)]
async fn a_failed_response_is_drained_while_other_attempts_run() {
    let (read, attempts) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let seen = read.clone();
    let attempts = Arc::new(attempts);
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let read = seen.clone();
        let is_first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
        let body = Full::from("text").map_frame(move |frame: Frame<Bytes>| {
            read.fetch_add(1, Ordering::SeqCst);
            frame
        });
        async move {
            sleep(60 * MS).await;
            let status = if is_first { 500 } else { 200 };
            let response = Response::builder().status(status).body(body);
            Ok::<_, BoxError>(response.unwrap())
        }
    });
    let response = layer().layer(inner).oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(read.load(Ordering::SeqCst), 1);
}

/// A load balancer further in learns the instances of the other attempts, also those that an outer layer knows.
#[tokio::test(start_paused = true)]
async fn a_hedge_knows_the_instances_of_the_attempts_before() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let balancer = service_fn(move |_: Request<Full<Bytes>>| {
        let number = log.lock().unwrap().len() as u32;
        let attempted = AttemptedInstances::current().unwrap();
        let known: Vec<_> = (1..=5).filter(|id| attempted.contains(*id)).collect();
        log.lock().unwrap().push(known);
        AttemptedInstances::record(number + 1);
        async move {
            sleep(MS).await;
            // Chosen late, as by a call that waits for an instance.
            if number == 0 {
                AttemptedInstances::record(4);
            }
            sleep(60 * MS).await;
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }
    });
    let service = layer().layer(balancer);
    let mut outer = AttemptedInstances::default();
    outer.enter(|| AttemptedInstances::record(5));
    let mut call = pin!(service.oneshot(get()));
    poll_fn(|cx| outer.enter(|| call.as_mut().poll(cx)))
        .await
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), [vec![5], vec![1, 4, 5]]);
    assert!([1, 2, 4, 5].iter().all(|id| outer.contains(*id)));
}
