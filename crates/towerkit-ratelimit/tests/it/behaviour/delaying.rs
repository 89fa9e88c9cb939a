//! The limit with a queue.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::{future::join_all, poll};
use http::Request;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{
    BoxError, Call, CarriesRejection, Deadline, LayerExt, Rejection, RejectionReason,
};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{DelayingRateLimitLayer, Quota};
use towerkit_test::{Action, Probe, tokio_clock};

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

fn layer(count: u32, burst: u32, max_wait: u64) -> DelayingRateLimitLayer {
    let layer = DelayingRateLimitLayer::new(quota(count, burst), Duration::from_secs(max_wait));
    layer.unwrap().clock(tokio_clock())
}

/// The calls that a service has served, and the times.
type Served = Arc<Mutex<Vec<(u32, Duration)>>>;

fn recording(
    layer: &DelayingRateLimitLayer,
) -> (
    impl Service<u32, Response = (), Error = BoxError, Future: Send> + Clone + use<>,
    Served,
) {
    let served = Served::default();
    let (note, start) = (served.clone(), Instant::now());
    let service = layer.layer(service_fn(move |call| {
        note.lock().unwrap().push((call, start.elapsed()));
        std::future::ready(Ok::<_, BoxError>(()))
    }));
    (service, served)
}

/// RL-08
#[tokio::test(start_paused = true)]
async fn a_thousand_calls_wait_in_line() {
    let layer = layer(10, 1, 1000);
    let handle = layer.handle();
    let (service, served) = recording(&layer);
    let calls = (0..1001).map(|call| service.clone().oneshot(call));
    let mut calls = join_all(calls);
    assert!(poll!(&mut calls).is_pending());
    assert_eq!(
        (handle.snapshot().waiting, handle.snapshot().available),
        (1000, 0)
    );
    assert!(calls.await.iter().all(Result::is_ok));
    let served = served.lock().unwrap();
    for (position, (call, when)) in served.iter().enumerate() {
        assert_eq!(*call as usize, position);
        let fair = Duration::from_millis(100) * *call;
        assert!(
            *when >= fair && *when <= fair + Duration::from_millis(1),
            "{call}: {when:?}"
        );
    }
    assert_eq!((served.len(), handle.snapshot().waiting), (1001, 0));
}

/// RL-08: at the front, at the end or in the middle of the queue, also to calls that come later.
#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_passes_its_tokens_to_the_next() {
    let layer = layer(10, 1, 1000);
    let (service, served) = recording(&layer);
    service.clone().oneshot(99).await.unwrap();
    let mut calls: Vec<_> = (0..10)
        .map(|call| Some(Box::pin(service.clone().oneshot(call))))
        .collect();
    for call in calls.iter_mut().flatten() {
        assert!(poll!(call.as_mut()).is_pending());
    }
    sleep(Duration::from_millis(50)).await;
    for call in [0, 1, 5, 9] {
        calls[call] = None;
    }
    let mut late = Box::pin(service.clone().oneshot(10));
    assert!(poll!(late.as_mut()).is_pending());
    let (calls, late) = tokio::join!(join_all(calls.into_iter().flatten()), late);
    assert!(late.is_ok() && calls.iter().all(Result::is_ok));
    let turns: Vec<_> = served
        .lock()
        .unwrap()
        .iter()
        .map(|(call, at)| (*call, at.as_millis()))
        .collect();
    let expected = [
        (99, 0),
        (2, 100),
        (3, 200),
        (4, 300),
        (6, 400),
        (7, 500),
        (8, 600),
        (10, 700),
    ];
    assert_eq!(turns, expected);
}

/// T-06: no call is polled more than three times, also while calls before it give up.
#[tokio::test(start_paused = true)]
async fn waiting_does_not_spin() {
    let layer = layer(10, 1, 1000);
    let (service, served) = recording(&layer);
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let mut call = Box::pin(service.clone().oneshot(number));
            let mut polls = 0;
            tokio::spawn(poll_fn(move |cx| {
                polls += 1;
                call.as_mut().poll(cx).map(|_| polls)
            }))
        })
        .collect();
    for call in (2..60).step_by(3) {
        sleep(Duration::from_millis(37)).await;
        calls[call].abort();
    }
    let ended = join_all(calls).await;
    let polls: Vec<u32> = ended.into_iter().flatten().collect();
    assert!(polls.iter().all(|polls| *polls <= 3), "{polls:?}");
    assert_eq!(polls.len(), served.lock().unwrap().len());
    // A call that was aborted while it waited left its tokens to another.
    let last = served.lock().unwrap().last().unwrap().1;
    assert_eq!(last.as_millis() as usize, (polls.len() - 1) * 100);
}

/// With the time after which it would be admitted to the queue.
#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_is_rejected_at_once() {
    let layer = layer(1, 1, 2).queue(5).unwrap().name("search");
    let (service, _served) = recording(&layer);
    let start = Instant::now();
    service.clone().oneshot(0).await.unwrap();
    let mut waiting: Vec<_> = (1..=2)
        .map(|call| Box::pin(service.clone().oneshot(call)))
        .collect();
    for call in &mut waiting {
        assert!(poll!(call.as_mut()).is_pending());
    }
    let error = service.clone().oneshot(3).await.unwrap_err();
    assert_eq!(error.to_string(), "search: rate limited, retry after 1s");
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(waiting.pop());
    assert!(poll!(Box::pin(service.clone().oneshot(3)).as_mut()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects_at_once() {
    let layer = layer(1, 1, 1000).queue(2).unwrap();
    let (service, _served) = recording(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut waiting: Vec<_> = (1..=2)
        .map(|call| Box::pin(service.clone().oneshot(call)))
        .collect();
    for call in &mut waiting {
        assert!(poll!(call.as_mut()).is_pending());
    }
    sleep(Duration::from_millis(400)).await;
    let error = service.clone().oneshot(3).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!(rejection.reason(), RejectionReason::RateLimited);
    assert_eq!(rejection.retry_after(), Some(Duration::from_millis(600)));
    waiting.pop();
    assert!(poll!(Box::pin(service.clone().oneshot(3)).as_mut()).is_pending());
}

/// GK-RL-2: if its deadline is earlier than its token, it is rejected at once.
#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_past_its_deadline() {
    let clock = tokio_clock();
    let layer = layer(1, 1, 1000).clock(clock.clone());
    let service = layer.http().layer(Probe::new());
    let call = |left| {
        let mut request = Request::new(Action::Succeed);
        request
            .extensions_mut()
            .insert(Deadline::after(&clock, Duration::from_millis(left)));
        service.clone().oneshot(request)
    };
    let start = Instant::now();
    assert_eq!(call(500).await.unwrap().status(), 200);
    let rejected = call(500).await.unwrap();
    assert_eq!(
        (rejected.status().as_u16(), start.elapsed()),
        (429, Duration::ZERO)
    );
    assert_eq!(rejected.headers()["retry-after"], "1");
    assert_eq!(call(1000).await.unwrap().status(), 200);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

/// RL-07
#[tokio::test(start_paused = true)]
async fn a_call_that_costs_more_than_the_burst_does_not_wait() {
    let layer = layer(10, 3, 1000).cost(|call: &Call<'_, u32>| *call.request);
    let service = layer.layer(service_fn(|cost| {
        std::future::ready(Ok::<_, BoxError>(cost))
    }));
    let start = Instant::now();
    assert!(service.clone().oneshot(3).await.is_ok());
    let error = service.clone().oneshot(4).await.unwrap_err();
    assert_eq!(
        error.rejection().map(Rejection::reason),
        Some(RejectionReason::InsufficientCapacity)
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(service.clone().oneshot(2).await.is_ok());
    assert_eq!(start.elapsed(), Duration::from_millis(200));
}

/// A call that waits holds no readiness of the inner service, and polls a clone ready when it is admitted.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_holds_nothing() {
    let layer = layer(10, 1, 1000).plain("probe");
    let probe = Probe::new();
    let counts = probe.counts();
    let service = layer.layer(probe);
    service.clone().oneshot(Action::Succeed).await.unwrap();
    let mut waiting = Box::pin(service.clone().oneshot(Action::Succeed));
    assert!(poll!(waiting.as_mut()).is_pending());
    assert_eq!((counts.reserved(), counts.started()), (0, 1));
    waiting.await.unwrap();
    assert_eq!((counts.started(), counts.violations()), (2, 0));
}

/// A future that its owner no longer polls delays only itself.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_polled_does_not_block_the_queue() {
    let layer = layer(10, 3, 1000);
    let (service, served) = recording(&layer);
    for call in 0..3 {
        service.clone().oneshot(call).await.unwrap();
    }
    let mut stuck = Box::pin(service.clone().oneshot(3));
    assert!(poll!(stuck.as_mut()).is_pending());
    service.clone().oneshot(4).await.unwrap();
    assert_eq!(
        served.lock().unwrap().last(),
        Some(&(4, Duration::from_millis(200)))
    );
    // Its unused token returns to the bucket.
    drop(stuck);
    assert_eq!(layer.handle().snapshot().available, 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_follow_a_change_of_the_quota() {
    let layer = layer(1, 1, 1000);
    let handle = layer.handle();
    let (service, served) = recording(&layer);
    let mut calls = pin!(join_all((0..4).map(|call| service.clone().oneshot(call))));
    assert!(poll!(calls.as_mut()).is_pending());
    sleep(Duration::from_millis(500)).await;
    handle.set_quota(quota(100, 1));
    assert_eq!(handle.snapshot().quota, quota(100, 1));
    calls.await;
    let turns: Vec<_> = served
        .lock()
        .unwrap()
        .iter()
        .map(|(_, at)| at.as_millis())
        .collect();
    assert_eq!(turns, [0, 505, 515, 525]);
}

/// A call that is dropped after any number of polls returns its tokens.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_poll_leaves_no_trace() {
    for polls in 0..6 {
        let layer = layer(10, 2, 1000);
        let handle = layer.handle();
        let (service, _served) = recording(&layer);
        for call in 0..2 {
            service.clone().oneshot(call).await.unwrap();
        }
        let mut left = polls;
        let mut call = pin!(async {
            let mut call = Box::pin(service.clone().oneshot(2));
            poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                cx.waker().wake_by_ref();
                call.as_mut().poll(cx).map(drop)
            })
            .await;
        });
        call.as_mut().await;
        assert_eq!(
            (handle.snapshot().waiting, handle.snapshot().available),
            (0, 0)
        );
        sleep(Duration::from_millis(100)).await;
        assert_eq!(handle.snapshot().available, 1);
    }
}
