//! What holds while the store is away.

use super::*;

#[test]
fn while_redis_is_away_the_quota_holds_in_the_process() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        memory.is(Mood::Failing(Failure::Away));
        let service = service(&layer(&memory, quota(10, 2)));
        let results = [0; 3].map(|_| call(&service, "Ann").now_or_never().unwrap());
        assert_eq!(
            reasons(results),
            [None, None, Some(RejectionReason::RateLimited)]
        );
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
            assert_eq!(reasons(results), [None, Some(RejectionReason::RateLimited)]);
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
            let rejected = call(&closed, "Ann").await.unwrap_err();
            assert_eq!(rejected.reason(), RejectionReason::Unavailable);
            assert!((MILLI..SECOND / 2).contains(&rejected.retry_after().unwrap()));
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
            name: "shop".into(),
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

/// Fails and succeeds as told; returns the states that the events report.
fn observed(memory: &Memory) -> (RedisRateLimitLayer, Arc<Mutex<Vec<bool>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = layer(memory, quota(1000, 1000))
        .timeout(10 * SECOND)
        .unwrap()
        .fail_open()
        .events(move |event: &Event| {
            if let Event::StoreChanged { reachable, .. } = event {
                sink.lock().unwrap().push(*reachable);
            }
        });
    (layer, seen)
}

/// Requests on the old connection may fail after a new connection has succeeded.
#[test]
fn failures_of_attempts_that_began_before_redis_returned_are_ignored() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let (layer, seen) = observed(&memory);
        let layer = layer.key(who);
        let service = service(&layer);
        memory.is(Mood::Held);
        let mut old = join_all(["A", "B", "C", "D"].map(|key| call(&service, key)));
        assert!((&mut old).now_or_never().is_none());
        memory.is(Mood::Failing(Failure::Away));
        for key in ["E", "F", "G"] {
            assert!(call(&service, key).await.is_ok());
        }
        assert_eq!(*seen.lock().unwrap(), [false]);
        sleep(SECOND).await;
        memory.is(Mood::Well);
        assert!(call(&service, "H").await.is_ok());
        assert_eq!(*seen.lock().unwrap(), [false, true]);
        memory.asked();
        memory.release(Err(Failure::Away));
        assert!(old.await.iter().all(Result::is_ok));
        assert_eq!(*seen.lock().unwrap(), [false, true]);
        assert!(layer.handle().snapshot().reachable);
        // Nor do their keys wait before they ask again.
        assert!(call(&service, "A").await.is_ok());
        assert_eq!(memory.asked().len(), 1);
    });
}

#[test]
fn answers_to_attempts_that_began_before_redis_was_away_are_ignored() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let (layer, seen) = observed(&memory);
        let layer = layer.key(who);
        let service = service(&layer);
        memory.is(Mood::Held);
        let mut old = pin!(call(&service, "A"));
        assert!(old.as_mut().now_or_never().is_none());
        memory.is(Mood::Failing(Failure::Away));
        for key in ["E", "F", "G"] {
            assert!(call(&service, key).await.is_ok());
        }
        memory.release(Ok(Grant {
            tokens: 1,
            wait: Duration::ZERO,
        }));
        assert!(old.await.is_ok());
        assert_eq!(*seen.lock().unwrap(), [false]);
        sleep(SECOND).await;
        memory.is(Mood::Well);
        assert!(call(&service, "E").await.is_ok());
        assert_eq!(*seen.lock().unwrap(), [false, true]);
    });
}
