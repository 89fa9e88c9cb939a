//! A limit that rejects, from the view of its callers.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use towerkit_concurrency::{
    ConcurrencyLimitHandle, ConcurrencyLimitLayer, ConcurrencyLimitPolicy, Permit, Priority,
    PriorityClass, PriorityClasses, PriorityFn,
};
use towerkit_core::{
    BoxError, Call, CallEnd, Clock, Event, Guard, IntoPolicy, Outcome, Plain, Policy, Rejection,
    RejectionReason,
};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe, run_paused};

use crate::guards::Limit;

fn admit(limit: &Limit) -> Option<Permit> {
    let protocol = Plain::new("test");
    Guard::admit(limit, &mut Call::new(&mut (), &protocol)).ok()
}

async fn readied<S: Service<Action, Error: Debug>>(service: &mut S) -> &mut S {
    service.ready().await.unwrap()
}

fn finish(limit: &Limit, permit: Permit) {
    limit.finish(permit, &CallEnd::new(Outcome::Success));
}

/// LS-01
#[test]
fn calls_in_flight_never_exceed_the_limit() {
    const LIMIT: u32 = 7;
    let limit = Limit::of(ConcurrencyLimitLayer::new(LIMIT).unwrap());
    let (in_flight, peak) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Some(permit) = admit(&limit) else {
                        continue;
                    };
                    let now = in_flight.fetch_add(1, Ordering::SeqCst) + 1;
                    peak.fetch_max(now, Ordering::SeqCst);
                    thread::yield_now();
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    finish(&limit, permit);
                }
            });
        }
    });
    assert!(peak.into_inner() <= LIMIT);
    assert_eq!(limit.in_flight(), 0);
    let permits: Vec<_> = std::iter::from_fn(|| admit(&limit)).collect();
    assert_eq!(permits.len() as u32, LIMIT, "all permits were released");
}

#[test]
fn a_call_above_the_limit_is_rejected_with_the_name_of_the_limit() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(1).unwrap().name("search");
        let handle = layer.handle();
        let mut service = ServiceBuilder::new()
            .layer(layer)
            .service_fn(|wait: u64| async move {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                Ok::<_, BoxError>(wait)
            });
        let first = service.ready().await.unwrap().call(10);
        let error = service.ready().await.unwrap().call(10).await.unwrap_err();
        let rejection = error.downcast_ref::<Rejection>().unwrap();
        assert_eq!(rejection.reason(), RejectionReason::Overloaded);
        assert_eq!(rejection.to_string(), "search: overloaded");
        assert_eq!(
            (handle.snapshot().in_flight, handle.snapshot().rejected),
            (1, 1)
        );
        assert_eq!(first.await.unwrap(), 10);
        assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 1);
        assert_eq!(handle.snapshot().in_flight, 0);
    });
}

/// LS-06: tower's limit acquires in `poll_ready`, so that idle connections exhaust it.
#[test]
fn ten_thousand_ready_and_idle_services_hold_no_permit() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(100).unwrap();
        let handle = layer.handle();
        let service = layer.layer(Probe::new());
        let mut idle: Vec<_> = (0..10_000).map(|_| service.clone()).collect();
        for one in &mut idle {
            readied(one).await;
        }
        assert_eq!(handle.snapshot().in_flight, 0);
        service.oneshot(Action::Succeed).await.unwrap();
        assert_eq!(handle.snapshot().rejected, 0);
    });
}

/// LS-06, for load shedding over a limit, where tower leaves a waiter behind.
#[test]
fn a_rejected_service_that_is_kept_strands_no_call() {
    run_paused(async {
        let service = ConcurrencyLimitLayer::new(1).unwrap().layer(Probe::new());
        let mut kept = service.clone();
        let first = service
            .clone()
            .oneshot(Action::Sleep(Duration::from_millis(10)));
        let first = tokio::spawn(first);
        tokio::task::yield_now().await;
        assert!(
            readied(&mut kept)
                .await
                .call(Action::Succeed)
                .await
                .is_err()
        );
        readied(&mut kept).await;
        first.await.unwrap().unwrap();
        service.oneshot(Action::Succeed).await.unwrap();
        drop(kept);
    });
}

/// LS-02
#[test]
fn a_permit_is_held_to_the_end_of_the_body() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(1).unwrap();
        let handle = layer.handle();
        let service = layer.http().layer(Probe::new());
        let request = || Request::new(Action::Succeed);
        let response = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(handle.snapshot().in_flight, 1);
        let rejected = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(response);
        assert_eq!(handle.snapshot().in_flight, 0);
        assert_eq!(
            service.oneshot(request()).await.unwrap().status(),
            StatusCode::OK
        );
    });
}

#[test]
fn a_limit_is_lowered_and_raised_while_calls_are_in_flight() {
    let limit = Limit::of(ConcurrencyLimitLayer::new(3).unwrap());
    let mut permits: Vec<_> = (0..3).map(|_| admit(&limit).unwrap()).collect();
    limit.set_limit(1);
    assert_eq!((limit.limit(), limit.in_flight()), (1, 3));
    for _ in 0..2 {
        finish(&limit, permits.pop().unwrap());
        assert!(admit(&limit).is_none(), "{} in flight", limit.in_flight());
    }
    finish(&limit, permits.pop().unwrap());
    permits.push(admit(&limit).unwrap());
    limit.set_limit(2);
    permits.push(admit(&limit).unwrap());
    assert!(admit(&limit).is_none());
}

type Classify = fn(&Call<'_, PriorityClass>) -> PriorityClass;

type ClassifiedLimit = ConcurrencyLimitPolicy<PriorityFn<Classify>>;

fn classified(limit: u32, classes: PriorityClasses) -> (ClassifiedLimit, ConcurrencyLimitHandle) {
    let classify: Classify = |call| call.request.clone();
    let (clock, _clock_control) = Clock::manual();
    let layer = ConcurrencyLimitLayer::new(limit)
        .unwrap()
        .clock(clock)
        .classes(classes, classify);
    let handle = layer.handle();
    (layer.into_policy().get().clone(), handle)
}

fn admit_as(limit: &ClassifiedLimit, class: impl Into<PriorityClass>) -> Option<Permit> {
    let protocol = Plain::new("test");
    Guard::admit(limit, &mut Call::new(&mut class.into(), &protocol)).ok()
}

fn admitted(limit: &ClassifiedLimit, class: impl Into<PriorityClass>) -> u32 {
    let class = class.into();
    (0..)
        .take_while(|_| admit_as(limit, class.clone()).is_some())
        .count() as u32
}

#[test]
fn calls_of_low_priority_are_shed_first() {
    let (limit, handle) = classified(100, PriorityClasses::new());
    assert_eq!(admitted(&limit, Priority::Sheddable), 50);
    assert_eq!(admitted(&limit, Priority::Normal), 40);
    assert_eq!(admitted(&limit, Priority::Sheddable), 0);
    assert_eq!(admitted(&limit, Priority::Critical), 10);
    assert_eq!(handle.snapshot().in_flight, 100);
}

#[test]
fn a_call_of_any_priority_is_admitted_while_the_limit_is_idle() {
    let (limit, _) = classified(1, PriorityClasses::new());
    assert_eq!(admitted(&limit, Priority::Sheddable), 1);
    assert_eq!(admitted(&limit, Priority::Critical), 0);
}

fn shares() -> PriorityClasses {
    PriorityClasses::new()
        .partition("web", 0.5)
        .unwrap()
        .partition("batch", 0.3)
        .unwrap()
}

fn critical(partition: &'static str) -> PriorityClass {
    PriorityClass::new(Priority::Critical).partition(partition)
}

#[test]
fn a_partition_keeps_its_share_under_the_load_of_others() {
    let (limit, handle) = classified(10, shares());
    let web = admit_as(&limit, critical("web")).unwrap();
    let batch = admit_as(&limit, critical("batch")).unwrap();
    // Its own share and the two unreserved permits; the shares of the others stay reserved.
    assert_eq!(admitted(&limit, critical("batch")), 2 + 2);
    assert_eq!(admitted(&limit, critical("unknown")), 0);
    assert_eq!(admitted(&limit, critical("web")), 4);
    assert_eq!(
        (handle.snapshot().in_flight, handle.snapshot().limit),
        (10, 10)
    );
    for permit in [web, batch] {
        limit.finish(permit, &CallEnd::new(Outcome::Success));
    }
    assert_eq!(admitted(&limit, critical("web")), 1);
    assert_eq!(admitted(&limit, critical("batch")), 1);
}

#[test]
fn the_share_of_an_idle_partition_is_lent_and_comes_back() {
    let (limit, handle) = classified(10, shares());
    let mut lent: Vec<_> = (0..10)
        .map(|_| admit_as(&limit, critical("batch")).unwrap())
        .collect();
    assert!(
        admit_as(&limit, critical("web")).is_none(),
        "above the limit"
    );
    // Each released permit belongs to its owner again: those of `web` were the last to be lent.
    for _ in 0..5 {
        limit.finish(lent.pop().unwrap(), &CallEnd::new(Outcome::Success));
        assert!(admit_as(&limit, critical("batch")).is_none());
        assert!(admit_as(&limit, critical("web")).is_some());
    }
    assert_eq!(handle.snapshot().in_flight, 10);
}

#[test]
fn rejections_are_reported_once_a_second() {
    let (clock, clock_control) = Clock::manual();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = ConcurrencyLimitLayer::new(1)
        .unwrap()
        .clock(clock)
        .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
    let limit = Limit::of(layer);
    let _permit = admit(&limit).unwrap();
    for _ in 0..10 {
        assert!(admit(&limit).is_none());
        clock_control.advance(Duration::from_millis(200));
    }
    let reached = |rejected| Event::LimitReached {
        name: "concurrency".into(),
        limit: 1,
        rejected,
    };
    assert_eq!(*seen.lock().unwrap(), [reached(1), reached(5)]);
}

#[test]
fn a_header_of_an_http_request_sets_its_priority() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(10).unwrap().classes(
            PriorityClasses::new(),
            |call: &Call<'_, Request<Action>>| match call.header("x-priority") {
                Some("high") => Priority::Critical,
                _ => Priority::Sheddable,
            },
        );
        let service = layer.http().layer(Probe::new());
        let status = async |priority| {
            let mut request = Request::new(Action::Succeed);
            request
                .headers_mut()
                .insert("x-priority", HeaderValue::from_static(priority));
            service.clone().oneshot(request).await.unwrap()
        };
        let mut open = Vec::new();
        for _ in 0..5 {
            open.push(status("low").await);
        }
        assert!(
            open.iter()
                .all(|response| response.status() == StatusCode::OK)
        );
        assert_eq!(
            status("low").await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status("high").await.status(), StatusCode::OK);
    });
}
