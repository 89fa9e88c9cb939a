//! What a caller sees, over a store in memory and paused time; `tests/redis` says the same of a real server.

use std::{
    future::{Ready, ready},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{BoxError, Call, Event, LayerExt, Reason, Rejection, stack};
use towerkit_http::HttpExt;
use towerkit_ratelimit::Quota;
use towerkit_test::{Act, HttpCalls, Probe, Subject, contract, laws, run_paused, tokio_clock};

use crate::{
    KeyOf, Overflow, RedisRateLimitLayer,
    memory::{Memory, Mood},
    store::Failure,
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

fn layer(memory: &Memory, quota: Quota) -> RedisRateLimitLayer {
    RedisRateLimitLayer::with_store(Arc::new(memory.clone()), quota)
        .unwrap()
        .clock(tokio_clock())
}

/// A layer that holds tokens, as it does in the steady state.
fn warm() -> RedisRateLimitLayer {
    let layer = cold();
    let service = service(&layer);
    while layer.handle().snapshot().tokens < 10 {
        assert!(at_once(&service, "Ann").unwrap().is_ok());
    }
    layer
}

/// A layer that asks before it admits a call.
fn cold() -> RedisRateLimitLayer {
    layer(&Memory::new(Duration::ZERO), quota(1000, 1000))
}

contract!(plain, PlainCalls, Subject::new(warm().plain("probe")));
contract!(http, HttpCalls, Subject::new(warm().http()));
contract!(grpc, GrpcCalls, Subject::new(warm().grpc()));
contract!(
    in_a_row,
    HttpCalls,
    Subject::new(stack((warm(), warm())).http())
);

/// T-01, T-04, T-06, T-08 for calls that wait.
#[test]
fn the_laws_hold_for_calls_that_wait() {
    run_paused(async {
        laws::calls_come_after_readiness::<HttpCalls, _>(Subject::new(cold().http())).await;
        laws::a_panic_releases_all::<HttpCalls, _>(|| Subject::new(cold().http())).await;
        laws::waiting_does_not_spin::<HttpCalls, _>(|| Subject::new(cold().http())).await;
        laws::errors_pass_unchanged::<HttpCalls, _>(|| Subject::new(cold().http())).await;
    });
}

/// T-03, T-06
#[test]
fn a_call_that_waits_is_woken_once_and_dropped_at_any_time() {
    run_paused(async {
        for polls in 0..=2 {
            let layer = layer(&Memory::new(2 * MILLI), quota(1000, 1000));
            let (probe, limiter) = (Probe::new(), layer.handle());
            let ledger = probe.ledger();
            let mut call = Box::pin(layer.plain("probe").layer(probe).oneshot(Act::Pend(9)));
            for _ in 0..polls {
                let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                advance(2 * MILLI).await;
            }
            drop(call);
            assert_eq!(ledger.started(), if polls == 2 { 1 } else { 0 });
            assert_eq!((ledger.in_flight(), ledger.reserved()), (0, 0));
            drop(limiter);
        }
    });
}

type Answer = fn(&'static str) -> Ready<Result<(), BoxError>>;

/// Who calls is the request, and the key.
fn service<K: KeyOf<&'static str> + 'static>(
    layer: &RedisRateLimitLayer<K>,
) -> impl Service<&'static str, Response = (), Error = BoxError> + Clone + use<K> {
    let answer: Answer = |_| ready(Ok(()));
    layer.layer(service_fn(answer))
}

fn who<'a>(call: &'a Call<'_, &'static str>) -> Option<&'a str> {
    Some(*call.request)
}

async fn call<S>(service: &S, who: &'static str) -> Result<(), Rejection>
where
    S: Service<&'static str, Response = (), Error = BoxError> + Clone,
{
    let refused = |error: BoxError| error.downcast_ref::<Rejection>().unwrap().clone();
    service.clone().oneshot(who).await.map_err(refused)
}

/// What comes of a call that does not wait; `None` if it has to.
fn at_once<S>(service: &S, who: &'static str) -> Option<Result<(), Rejection>>
where
    S: Service<&'static str, Response = (), Error = BoxError> + Clone,
{
    call(service, who).now_or_never()
}

/// Calls at a fixed pace: how many were admitted, and how many of all had to wait.
async fn run<S>(service: &S, calls: u32, every: Duration) -> (u32, u32)
where
    S: Service<&'static str, Response = (), Error = BoxError> + Clone,
{
    let (mut admitted, mut waited) = (0, 0);
    for _ in 0..calls {
        let begun = Instant::now();
        admitted += u32::from(call(service, "Ann").await.is_ok());
        waited += u32::from(!begun.elapsed().is_zero());
        sleep(every).await;
    }
    (admitted, waited)
}

fn reasons<const N: usize>(results: [Result<(), Rejection>; N]) -> [Option<Reason>; N] {
    results.map(|result| result.err().map(|rejection| rejection.reason()))
}

/// RL-03
#[test]
fn a_call_beyond_the_quota_is_refused_with_the_wait() {
    run_paused(async {
        let service = service(&layer(&Memory::new(2 * MILLI), quota(10, 2)));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Ann").await.is_ok());
        let refused = call(&service, "Ann").await.unwrap_err();
        assert_eq!(refused.reason(), Reason::RateLimited);
        let wait = refused.wait().unwrap();
        assert!(wait > 94 * MILLI && wait <= 100 * MILLI, "{wait:?}");
        advance(wait - Duration::from_nanos(1)).await;
        assert!(call(&service, "Ann").await.is_err());
        advance(Duration::from_nanos(1)).await;
        assert!(call(&service, "Ann").await.is_ok());
    });
}

#[test]
fn a_refused_key_is_refused_without_asking() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1, 1)));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Ann").await.is_err());
        assert_eq!(memory.asked().len(), 1);
        for left in (1..=9).rev() {
            sleep(100 * MILLI).await;
            let refused = at_once(&service, "Ann").unwrap().unwrap_err();
            let wait = refused.wait().unwrap();
            assert!(wait > left * 100 * MILLI - 10 * MILLI && wait <= left * 100 * MILLI);
        }
        assert!(memory.asked().is_empty());
    });
}

#[test]
fn in_the_steady_state_no_call_waits_and_few_ask() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(10_000, 10_000)));
        run(&service, 100, MILLI).await;
        memory.asked();
        let (admitted, waited) = run(&service, 10_000, MILLI).await;
        assert_eq!((admitted, waited), (10_000, 0));
        let asked = memory.asked();
        assert!(asked.len() <= 30, "{asked:?}");
    });
}

#[test]
fn a_key_that_is_asked_for_now_and_then_uses_no_more_tokens_than_calls() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1000, 1000)));
        assert_eq!(run(&service, 20, 3 * SECOND).await, (20, 20));
        assert_eq!(
            memory.asked().iter().map(|(_, tokens)| tokens).sum::<u32>(),
            20
        );
    });
}

#[test]
fn calls_that_wait_together_ask_once() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1000, 1000));
        let service = service(&layer);
        run(&service, 100, MILLI).await;
        // What was leased ends, but not what was learned.
        sleep(SECOND).await;
        memory.asked();
        let all = join_all((0..8).map(|_| call(&service, "Ann"))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(memory.asked().len(), 1);
    });
}

#[test]
fn a_call_that_gets_none_of_the_common_tokens_asks_for_its_own() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1, 30)));
        let begun = Instant::now();
        let all = join_all((0..40).map(|_| call(&service, "Ann"))).await;
        assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 30);
        assert!(
            begun.elapsed() <= 6 * MILLI,
            "two round trips, and a little"
        );
    });
}

/// T-03
#[test]
fn when_the_call_that_asks_is_dropped_another_goes_on() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(10, 10)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut asks = Box::pin(call(&service, "Ann"));
        assert!(asks.as_mut().poll(&mut cx).is_pending());
        let mut waits = pin!(call(&service, "Ann"));
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(asks);
        assert!(waits.await.is_ok());
        assert_eq!(memory.asked().len(), 1);
    });
}

/// T-03: what a call asked for is there for the next one.
#[test]
fn a_dropped_call_leaves_its_token_to_the_next() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1, 1)));
        let mut asks = Box::pin(call(&service, "Ann"));
        let _ = asks.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        advance(MILLI).await;
        let _ = asks.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(asks);
        sleep(300 * MILLI).await;
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Ann").await.is_err());
    });
}

#[test]
fn tokens_end_with_their_lease() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(100, 100)).lease(50, SECOND).unwrap();
        let service = service(&layer);
        run(&service, 20, MILLI).await;
        assert!(layer.handle().snapshot().tokens > 0);
        sleep(SECOND).await;
        assert_eq!(layer.handle().snapshot().tokens, 0);
        assert!(at_once(&service, "Ann").is_none());
    });
}

#[test]
fn processes_share_the_quota() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layers = [0; 4].map(|_| layer(&memory, quota(100, 50)));
        let services = layers.map(|layer| service(&layer));
        let begun = Instant::now();
        let all = join_all(
            services
                .iter()
                .map(|service| run(service, 1000, 10 * MILLI)),
        )
        .await;
        let admitted: u32 = all.iter().map(|(admitted, _)| admitted).sum();
        let flowed = begun.elapsed().as_millis() as u32 / 10;
        assert!(
            (flowed..=50 + flowed + 4 * 5).contains(&admitted),
            "{admitted} of {flowed}"
        );
    });
}

#[test]
fn each_key_has_a_quota_of_its_own_and_a_name_on_redis() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1)).key(who).prefix("shop");
        let service = service(&layer);
        let long = "long".repeat(40).leak();
        for key in ["Ann", "Bob", "", long] {
            assert!(call(&service, key).await.is_ok());
            assert!(call(&service, key).await.is_err());
        }
        let names: Vec<_> = memory.asked().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[..3], ["shop:Ann", "shop:Bob", "shop:"]);
        assert_eq!(
            names[3],
            "shop:sha1:5b601c61387564323080f27464b69a47f63b602c"
        );
    });
}

#[test]
fn calls_without_a_key_share_a_quota() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let service = service(&layer.key(|call: &Call<'_, &'static str>| call.field("none")));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Bob").await.is_err());
    });
}

#[test]
fn while_redis_is_away_the_quota_holds_in_the_process() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        memory.is(Mood::Failing(Failure::Away));
        let service = service(&layer(&memory, quota(10, 2)));
        let results = [0; 3].map(|_| call(&service, "Ann").now_or_never().unwrap());
        assert_eq!(reasons(results), [None, None, Some(Reason::RateLimited)]);
        sleep(100 * MILLI).await;
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Ann").await.is_err());
    });
}

#[test]
fn while_redis_is_away_another_quota_may_hold_in_the_process() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        memory.is(Mood::Failing(Failure::Away));
        let layer = layer(&memory, quota(10, 9))
            .key(who)
            .fail_open_within(quota(1, 1));
        let service = service(&layer);
        for key in ["Ann", "Bob"] {
            let results = [0; 2].map(|_| call(&service, key).now_or_never().unwrap());
            assert_eq!(reasons(results), [None, Some(Reason::RateLimited)]);
        }
    });
}

#[test]
fn failing_open_admits_all_and_failing_closed_none() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        memory.is(Mood::Failing(Failure::Away));
        let open = service(&layer(&memory, quota(1, 1)).fail_open());
        let closed = service(&layer(&memory, quota(1, 1)).fail_closed());
        for _ in 0..20 {
            assert!(call(&open, "Ann").await.is_ok());
            let refused = call(&closed, "Ann").await.unwrap_err();
            assert_eq!(refused.reason(), Reason::Unavailable);
            assert!((MILLI..SECOND / 2).contains(&refused.wait().unwrap()));
        }
    });
}

/// The backoff: callers do not each wait for a server that is silent.
#[test]
fn a_silent_redis_costs_the_timeout_now_and_then_and_is_found_again_within_a_second() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        memory.is(Mood::Silent);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let layer = layer(&memory, quota(1000, 1000))
            .name("shop")
            .fail_closed()
            .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
        let service = service(&layer);
        let begun = Instant::now();
        let (admitted, waited) = run(&service, 5000, MILLI).await;
        assert_eq!(admitted, 0);
        assert!(waited <= 30, "{waited}");
        assert!(begun.elapsed() <= 5 * SECOND + 30 * 110 * MILLI);
        assert_eq!(memory.resets(), 1);
        assert!(!layer.handle().snapshot().reachable);
        memory.is(Mood::Well);
        let begun = Instant::now();
        while call(&service, "Ann").await.is_err() {
            sleep(MILLI).await;
        }
        assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        assert!(layer.handle().snapshot().reachable);
        let changed = |reachable| Event::StoreChanged {
            name: "shop",
            reachable,
        };
        assert_eq!(*seen.lock().unwrap(), [changed(false), changed(true)]);
    });
}

#[test]
fn leased_tokens_are_spent_though_redis_went_away() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1000, 1000)).fail_closed();
        let service = service(&layer);
        run(&service, 200, MILLI).await;
        memory.is(Mood::Failing(Failure::Away));
        let held = layer.handle().snapshot().tokens;
        assert!(held > 10);
        for _ in 0..held {
            assert!(at_once(&service, "Ann").is_some_and(|result| result.is_ok()));
        }
        assert!(call(&service, "Ann").await.is_err());
    });
}

#[test]
fn a_bucket_that_is_broken_keeps_no_other_from_redis() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        memory.is(Mood::Failing(Failure::Broken));
        let layer = layer(&memory, quota(10, 10)).key(who).fail_closed();
        let service = service(&layer);
        (0..9).for_each(|_| assert!(at_once(&service, "Ann").unwrap().is_err()));
        assert_eq!(memory.asked().len(), 1);
        memory.is(Mood::Well);
        assert!(call(&service, "Bob").await.is_ok());
        assert!(layer.handle().snapshot().reachable);
    });
}

/// RL-09
#[test]
fn keys_take_no_more_room_than_they_are_given() {
    run_paused(async {
        let memory = Memory::new(Duration::ZERO);
        let layer = layer(&memory, quota(10, 10))
            .key(who)
            .capacity(100)
            .unwrap();
        let service = service(&layer);
        for key in 0..5000 {
            assert!(call(&service, key.to_string().leak()).await.is_ok());
        }
        assert!(layer.handle().snapshot().keys <= 128);
    });
}

#[test]
fn a_key_that_finds_no_room_asks_for_each_call_or_is_refused() {
    run_paused(async {
        for overflow in [Overflow::Ask, Overflow::Refuse] {
            let memory = Memory::new(2 * MILLI);
            let layer = layer(&memory, quota(1000, 1000))
                .key(who)
                .capacity(16)
                .unwrap()
                .overflow(overflow);
            let service = service(&layer);
            let keys: Vec<&'static str> = (0..16).map(|key| &*key.to_string().leak()).collect();
            for _ in 0..10 {
                join_all(keys.iter().map(|key| call(&service, key))).await;
            }
            // All of them hold tokens now.
            for _ in 0..3 {
                let result = call(&service, "Ann").await;
                match overflow {
                    Overflow::Ask => assert!(result.is_ok()),
                    Overflow::Refuse => {
                        assert_eq!(reasons([result]), [Some(Reason::Overloaded)]);
                    }
                }
            }
            sleep(SECOND).await;
            assert!(call(&service, "Ann").await.is_ok());
            assert_eq!(layer.handle().snapshot().keys, 16);
        }
    });
}

#[test]
fn the_quota_can_be_changed_while_it_runs() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let (service, handle) = (service(&layer), layer.handle());
        assert!(call(&service, "Ann").await.is_ok());
        handle.change(quota(10, 1)).unwrap();
        assert_eq!(handle.quota(), quota(10, 1));
        sleep(200 * MILLI).await;
        assert!(call(&service, "Ann").await.is_ok());
        let odd = Quota::new(999_999_937, Duration::from_nanos(999_999_999)).unwrap();
        assert!(handle.change(odd.burst(10_000_000).unwrap()).is_err());
        assert_eq!(handle.quota(), quota(10, 1));
    });
}

/// Nobody drove it, so that its failure says nothing about Redis.
#[test]
fn a_request_that_nobody_looked_at_for_long_is_forgotten() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1000, 1000)).fail_closed();
        let service = service(&layer);
        run(&service, 50, MILLI).await;
        memory.is(Mood::Silent);
        while at_once(&service, "Ann").is_some() {}
        sleep(10 * SECOND).await;
        memory.is(Mood::Well);
        assert!(call(&service, "Ann").await.is_ok());
    });
}

#[test]
fn a_call_may_be_made_outside_the_runtime_that_runs_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let layer = runtime.block_on(async { layer(&Memory::new(2 * MILLI), quota(1000, 1000)) });
    let service = service(&layer);
    for _ in 0..100 {
        let future = service.clone().call("Ann");
        assert!(runtime.block_on(future).is_ok());
    }
}

#[test]
fn waiting_calls_are_polled_by_whoever_is_woken() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let service = service(&layer(&memory, quota(10, 10)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut idle = pin!(call(&service, "Ann"));
        assert!(idle.as_mut().poll(&mut cx).is_pending());
        // It is never polled again while the other one waits.
        assert!(call(&service, "Bob").await.is_ok());
        assert!(matches!(
            idle.as_mut().poll(&mut cx),
            Poll::Ready(_) | Poll::Pending
        ));
        assert!(idle.await.is_ok());
    });
}
