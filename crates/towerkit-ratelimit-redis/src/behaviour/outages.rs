//! Behaviour while the store is unreachable.

use super::*;

#[test]
fn while_redis_is_unreachable_each_process_applies_the_quota() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        memory.set_reply(Reply::Fail(StoreError::Unreachable));
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
fn while_redis_is_unreachable_each_process_applies_the_fallback_quota() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        memory.set_reply(Reply::Fail(StoreError::Unreachable));
        let layer = layer(&memory, quota(10, 9))
            .key(request_key)
            .fallback_quota(quota(1, 1));
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
        let memory = MemoryStore::new(2 * MILLI);
        memory.set_reply(Reply::Fail(StoreError::Unreachable));
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

/// The backoff keeps calls from waiting for a silent server one after the other.
#[test]
fn a_silent_redis_delays_few_calls_and_is_found_again_within_a_second() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        memory.set_reply(Reply::Never);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let layer = layer(&memory, quota(1000, 1000))
            .name("shop")
            .fail_closed()
            .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
        let service = service(&layer);
        let begun = Instant::now();
        let (admitted, waited) = call_every(&service, 5000, MILLI).await;
        assert_eq!(admitted, 0);
        assert!(waited <= 30, "{waited}");
        assert!(begun.elapsed() <= 5 * SECOND + 30 * 110 * MILLI);
        assert_eq!(memory.resets(), 1);
        assert!(!layer.handle().snapshot().reachable);
        memory.set_reply(Reply::Grant);
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
fn leased_tokens_are_spent_while_redis_is_unreachable() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1000, 1000)).fail_closed();
        let service = service(&layer);
        call_every(&service, 200, MILLI).await;
        memory.set_reply(Reply::Fail(StoreError::Unreachable));
        let held = layer.handle().snapshot().tokens;
        assert!(held > 10);
        for _ in 0..held {
            assert!(call_now(&service, "Ann").is_some_and(|result| result.is_ok()));
        }
        assert!(call(&service, "Ann").await.is_err());
    });
}

#[test]
fn an_error_of_one_bucket_does_not_affect_the_others() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        memory.set_reply(Reply::Fail(StoreError::BadBucket));
        let layer = layer(&memory, quota(10, 10)).key(request_key).fail_closed();
        let service = service(&layer);
        (0..9).for_each(|_| assert!(call_now(&service, "Ann").unwrap().is_err()));
        assert_eq!(memory.take_requests().len(), 1);
        memory.set_reply(Reply::Grant);
        assert!(call(&service, "Bob").await.is_ok());
        assert!(layer.handle().snapshot().reachable);
    });
}

/// No call polled it, so that its failure says nothing about Redis.
#[test]
fn a_request_that_was_not_polled_for_long_is_ignored() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1000, 1000)).fail_closed();
        let service = service(&layer);
        call_every(&service, 50, MILLI).await;
        memory.set_reply(Reply::Never);
        while call_now(&service, "Ann").is_some() {}
        sleep(10 * SECOND).await;
        memory.set_reply(Reply::Grant);
        assert!(call(&service, "Ann").await.is_ok());
    });
}

/// Returns a layer, and the changes of reachability that its events report.
fn layer_with_events(memory: &MemoryStore) -> (RedisRateLimitLayer, Arc<Mutex<Vec<bool>>>) {
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
        let memory = MemoryStore::new(2 * MILLI);
        let (layer, seen) = layer_with_events(&memory);
        let layer = layer.key(request_key);
        let service = service(&layer);
        memory.set_reply(Reply::Held);
        let mut old = join_all(["A", "B", "C", "D"].map(|key| call(&service, key)));
        assert!((&mut old).now_or_never().is_none());
        memory.set_reply(Reply::Fail(StoreError::Unreachable));
        for key in ["E", "F", "G"] {
            assert!(call(&service, key).await.is_ok());
        }
        assert_eq!(*seen.lock().unwrap(), [false]);
        sleep(SECOND).await;
        memory.set_reply(Reply::Grant);
        assert!(call(&service, "H").await.is_ok());
        assert_eq!(*seen.lock().unwrap(), [false, true]);
        memory.take_requests();
        memory.release(Err(StoreError::Unreachable));
        assert!(old.await.iter().all(Result::is_ok));
        assert_eq!(*seen.lock().unwrap(), [false, true]);
        assert!(layer.handle().snapshot().reachable);
        // Their keys ask again at once.
        assert!(call(&service, "A").await.is_ok());
        assert_eq!(memory.take_requests().len(), 1);
    });
}

#[test]
fn answers_to_attempts_that_began_before_redis_was_unreachable_are_ignored() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let (layer, seen) = layer_with_events(&memory);
        let layer = layer.key(request_key);
        let service = service(&layer);
        memory.set_reply(Reply::Held);
        let mut old = pin!(call(&service, "A"));
        assert!(old.as_mut().now_or_never().is_none());
        memory.set_reply(Reply::Fail(StoreError::Unreachable));
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
        memory.set_reply(Reply::Grant);
        assert!(call(&service, "E").await.is_ok());
        assert_eq!(*seen.lock().unwrap(), [false, true]);
    });
}
