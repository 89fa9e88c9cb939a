//! A limit as its callers see it.

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
    Class, Classes, ConcurrencyLimitHandle, ConcurrencyLimitLayer, ConcurrencyLimitPolicy, Permit,
    Priority, Sorted,
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
fn never_more_than_the_limit_are_in_flight() {
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
    assert_eq!(peak.into_inner(), LIMIT);
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn a_call_too_many_is_rejected_at_once_and_says_by_whom() {
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
        assert_eq!((handle.in_flight(), handle.rejected()), (1, 1));
        assert_eq!(first.await.unwrap(), 10);
        assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 1);
        assert_eq!(handle.in_flight(), 0);
    });
}

/// LS-06: tower's limit reserves in `poll_ready`, so that idle connections use it up.
#[test]
fn ten_thousand_idle_services_that_are_ready_hold_nothing() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(100).unwrap();
        let handle = layer.handle();
        let service = layer.layer(Probe::new());
        let mut idle: Vec<_> = (0..10_000).map(|_| service.clone()).collect();
        for one in &mut idle {
            readied(one).await;
        }
        assert_eq!(handle.in_flight(), 0);
        service.oneshot(Action::Succeed).await.unwrap();
        assert_eq!(handle.rejected(), 0);
    });
}

/// LS-06, for the pair of layers in which tower leaves a waiter behind (load shed over a limit).
#[test]
fn a_rejected_service_that_is_kept_strands_nobody() {
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
        assert_eq!(handle.in_flight(), 1);
        let rejected = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(response);
        assert_eq!(handle.in_flight(), 0);
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
    limit.change(1).unwrap();
    assert_eq!((limit.limit(), limit.in_flight()), (1, 3));
    for _ in 0..2 {
        finish(&limit, permits.pop().unwrap());
        assert!(admit(&limit).is_none(), "{} in flight", limit.in_flight());
    }
    finish(&limit, permits.pop().unwrap());
    permits.push(admit(&limit).unwrap());
    limit.change(2).unwrap();
    permits.push(admit(&limit).unwrap());
    assert!(admit(&limit).is_none());
}

type Sorting = fn(&Call<'_, Class>) -> Class;

type SortedLimit = ConcurrencyLimitPolicy<Sorted<Sorting>>;

fn sorted(limit: u32, classes: Classes) -> (SortedLimit, ConcurrencyLimitHandle) {
    let sorting: Sorting = |call| *call.request;
    let (clock, _hand) = Clock::manual();
    let layer = ConcurrencyLimitLayer::new(limit)
        .unwrap()
        .clock(clock)
        .classes(classes, sorting);
    let handle = layer.handle();
    (layer.into_policy().get().clone(), handle)
}

fn admit_as(limit: &SortedLimit, class: impl Into<Class>) -> Option<Permit> {
    let protocol = Plain::new("test");
    Guard::admit(limit, &mut Call::new(&mut class.into(), &protocol)).ok()
}

fn admitted(limit: &SortedLimit, class: impl Into<Class>) -> u32 {
    let class = class.into();
    (0..)
        .take_while(|_| admit_as(limit, class).is_some())
        .count() as u32
}

#[test]
fn calls_of_less_priority_are_rejected_first() {
    let (limit, handle) = sorted(100, Classes::new());
    assert_eq!(admitted(&limit, Priority::Sheddable), 50);
    assert_eq!(admitted(&limit, Priority::Normal), 40);
    assert_eq!(admitted(&limit, Priority::Sheddable), 0);
    assert_eq!(admitted(&limit, Priority::Critical), 10);
    assert_eq!(handle.in_flight(), 100);
}

#[test]
fn a_call_of_any_priority_is_admitted_where_nothing_is_in_flight() {
    let (limit, _) = sorted(1, Classes::new());
    assert_eq!(admitted(&limit, Priority::Sheddable), 1);
    assert_eq!(admitted(&limit, Priority::Critical), 0);
}

fn shares() -> Classes {
    Classes::new()
        .partition("web", 0.5)
        .unwrap()
        .partition("batch", 0.3)
        .unwrap()
}

fn critical(partition: &'static str) -> Class {
    Class::new(Priority::Critical).partition(partition)
}

#[test]
fn a_partition_has_its_share_whatever_the_others_do() {
    let (limit, handle) = sorted(10, shares());
    let web = admit_as(&limit, critical("web")).unwrap();
    let batch = admit_as(&limit, critical("batch")).unwrap();
    // Its own places, and the two that nobody owns; the places of the others are theirs.
    assert_eq!(admitted(&limit, critical("batch")), 2 + 2);
    assert_eq!(admitted(&limit, critical("unheard of")), 0);
    assert_eq!(admitted(&limit, critical("web")), 4);
    assert_eq!((handle.in_flight(), handle.limit()), (10, 10));
    for permit in [web, batch] {
        limit.finish(permit, &CallEnd::new(Outcome::Success));
    }
    assert_eq!(admitted(&limit, critical("web")), 1);
    assert_eq!(admitted(&limit, critical("batch")), 1);
}

#[test]
fn a_share_that_nobody_asks_for_is_lent_and_comes_back() {
    let (limit, handle) = sorted(10, shares());
    let mut lent: Vec<_> = (0..10)
        .map(|_| admit_as(&limit, critical("batch")).unwrap())
        .collect();
    assert!(
        admit_as(&limit, critical("web")).is_none(),
        "not more than the limit"
    );
    // Each place that becomes free is the owner's again: those of `web` were the last to be borrowed.
    for _ in 0..5 {
        limit.finish(lent.pop().unwrap(), &CallEnd::new(Outcome::Success));
        assert!(admit_as(&limit, critical("batch")).is_none());
        assert!(admit_as(&limit, critical("web")).is_some());
    }
    assert_eq!(handle.in_flight(), 10);
}

#[test]
fn rejections_are_reported_once_a_second() {
    let (clock, hand) = Clock::manual();
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
        hand.advance(Duration::from_millis(200));
    }
    let reached = |rejected| Event::LimitReached {
        name: "concurrency".into(),
        limit: 1,
        rejected,
    };
    assert_eq!(*seen.lock().unwrap(), [reached(1), reached(5)]);
}

#[test]
fn the_priority_of_a_call_over_http_is_in_its_head() {
    run_paused(async {
        let layer = ConcurrencyLimitLayer::new(10).unwrap().classes(
            Classes::new(),
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
