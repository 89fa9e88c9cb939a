//! Quotas and leases.

use super::*;

/// RL-03
#[test]
fn a_call_beyond_the_quota_is_rejected_with_the_wait() {
    run_paused(async {
        let service = service(&layer(&MemoryStore::new(2 * MILLI), quota(10, 2)));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Ann").await.is_ok());
        let rejected = call(&service, "Ann").await.unwrap_err();
        assert_eq!(rejected.reason(), RejectionReason::RateLimited);
        let wait = rejected.retry_after().unwrap();
        assert!(wait > 94 * MILLI && wait <= 100 * MILLI, "{wait:?}");
        advance(wait - Duration::from_nanos(1)).await;
        assert!(call(&service, "Ann").await.is_err());
        advance(Duration::from_nanos(1)).await;
        assert!(call(&service, "Ann").await.is_ok());
    });
}

#[test]
fn a_rejected_key_is_rejected_without_asking() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1, 1)));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Ann").await.is_err());
        assert_eq!(memory.take_requests().len(), 1);
        for left in (1..=9).rev() {
            sleep(100 * MILLI).await;
            let rejected = call_now(&service, "Ann").unwrap().unwrap_err();
            let wait = rejected.retry_after().unwrap();
            assert!(wait > left * 100 * MILLI - 10 * MILLI && wait <= left * 100 * MILLI);
        }
        assert!(memory.take_requests().is_empty());
    });
}

#[test]
fn in_the_steady_state_no_call_waits_and_requests_are_few() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(10_000, 10_000)));
        call_every(&service, 100, MILLI).await;
        memory.take_requests();
        let (admitted, waited) = call_every(&service, 10_000, MILLI).await;
        assert_eq!((admitted, waited), (10_000, 0));
        let requests = memory.take_requests();
        assert!(requests.len() <= 30, "{requests:?}");
    });
}

#[test]
fn a_key_with_few_calls_takes_no_more_tokens_than_calls() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1000, 1000)));
        assert_eq!(call_every(&service, 20, 3 * SECOND).await, (20, 20));
        assert_eq!(
            memory
                .take_requests()
                .iter()
                .map(|(_, tokens)| tokens)
                .sum::<u32>(),
            20
        );
    });
}

#[test]
fn calls_that_wait_share_one_request() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1000, 1000));
        let service = service(&layer);
        call_every(&service, 100, MILLI).await;
        // The lease expires, and the size of the next lease stays.
        sleep(SECOND).await;
        memory.take_requests();
        let all = join_all((0..8).map(|_| call(&service, "Ann"))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(memory.take_requests().len(), 1);
    });
}

#[test]
fn a_call_that_gets_no_shared_token_requests_its_own() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(1, 30)));
        let begun = Instant::now();
        let all = join_all((0..40).map(|_| call(&service, "Ann"))).await;
        assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 30);
        assert!(begun.elapsed() <= 6 * MILLI, "two round trips");
    });
}

/// T-03
#[test]
fn a_shared_request_completes_when_its_first_call_is_dropped() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(10, 10)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut asks = Box::pin(call(&service, "Ann"));
        assert!(asks.as_mut().poll(&mut cx).is_pending());
        let mut waits = pin!(call(&service, "Ann"));
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(asks);
        assert!(waits.await.is_ok());
        assert_eq!(memory.take_requests().len(), 1);
    });
}

/// T-03: the tokens that a call requested are there for the next call.
#[test]
fn a_dropped_call_leaves_its_token_to_the_next() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
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
fn tokens_expire_with_their_lease() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(100, 100)).lease(50, SECOND).unwrap();
        let service = service(&layer);
        call_every(&service, 20, MILLI).await;
        assert!(layer.handle().snapshot().tokens > 0);
        sleep(SECOND).await;
        assert_eq!(layer.handle().snapshot().tokens, 0);
        assert!(call_now(&service, "Ann").is_none());
    });
}

#[test]
fn processes_share_the_quota() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layers = [0; 4].map(|_| layer(&memory, quota(100, 50)));
        let services = layers.map(|layer| service(&layer));
        let begun = Instant::now();
        let all = join_all(
            services
                .iter()
                .map(|service| call_every(service, 1000, 10 * MILLI)),
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
fn the_quota_can_be_changed_while_it_runs() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let (service, handle) = (service(&layer), layer.handle());
        assert!(call(&service, "Ann").await.is_ok());
        handle.set_quota(quota(10, 1)).unwrap();
        assert_eq!(handle.quota(), quota(10, 1));
        sleep(200 * MILLI).await;
        assert!(call(&service, "Ann").await.is_ok());
        let odd = Quota::new(999_999_937, Duration::from_nanos(999_999_999)).unwrap();
        assert!(handle.set_quota(odd.burst(10_000_000).unwrap()).is_err());
        assert_eq!(handle.quota(), quota(10, 1));
    });
}

#[test]
fn a_call_may_be_made_outside_the_runtime_that_runs_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let layer = runtime.block_on(async { layer(&MemoryStore::new(2 * MILLI), quota(1000, 1000)) });
    let service = service(&layer);
    for _ in 0..100 {
        let future = service.clone().call("Ann");
        assert!(runtime.block_on(future).is_ok());
    }
}

#[test]
fn a_waiting_call_that_is_not_polled_holds_no_other_up() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(10, 10)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut idle = pin!(call(&service, "Ann"));
        assert!(idle.as_mut().poll(&mut cx).is_pending());
        // The first call is not polled while the second one waits.
        assert!(call(&service, "Bob").await.is_ok());
        assert!(matches!(
            idle.as_mut().poll(&mut cx),
            Poll::Ready(_) | Poll::Pending
        ));
        assert!(idle.await.is_ok());
    });
}

#[test]
fn a_call_from_a_lease_allocates_nothing() {
    run_paused(async {
        let layer = with_lease();
        let guard = layer.into_policy();
        let protocol = Plain::new("test");
        let seen = allocation_counter::measure(|| {
            for _ in 0..5 {
                let admitted = guard.get().admit(&mut Call::new(&mut "Ann", &protocol));
                assert!(matches!(admitted, Ok(Admission::Now(()))));
            }
        });
        assert_eq!(seen.count_total, 0);
        let counted = allocation_counter::measure(|| drop(Box::new(1)));
        assert!(counted.count_total > 0, "the counter counts");
    });
}

#[test]
fn a_lease_has_at_most_65535_tokens() {
    run_paused(async {
        let memory = MemoryStore::new(Duration::ZERO);
        let service = service(&layer(&memory, quota(1_000_000_000, u32::MAX)));
        for _ in 0..200_000 {
            assert!(call_now(&service, "Ann").unwrap().is_ok());
        }
        let most = memory
            .take_requests()
            .into_iter()
            .map(|(_, tokens)| tokens)
            .max();
        assert!((50_000..=65_535).contains(&most.unwrap()), "{most:?}");
    });
}

/// Tokens of a prefetch that were not polled yet are not requested again.
#[test]
fn an_answer_that_arrived_is_used_before_a_new_request() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let service = service(&layer(&memory, quota(100, 100)).lease(2, SECOND).unwrap());
        call_every(&service, 3, MILLI).await;
        while call_now(&service, "Ann").is_some() {}
        sleep(300 * MILLI).await;
        memory.take_requests();
        assert!(call_now(&service, "Ann").unwrap().is_ok());
        assert!(memory.take_requests().len() <= 1);
    });
}

/// After a pause of any length leases and denials have expired, and the bucket has the burst and not more.
#[test]
fn after_a_pause_of_any_length_the_burst_is_admitted() {
    run_paused(async {
        let memory = MemoryStore::new(Duration::ZERO);
        let service = service(&layer(&memory, quota(10, 30)));
        for pause in [Duration::ZERO, 3600 * SECOND, 365 * 24 * 3600 * SECOND] {
            advance(pause).await;
            let mut admitted = 0;
            while call(&service, "Ann").await.is_ok() {
                admitted += 1;
            }
            assert_eq!(admitted, 30, "{pause:?}");
        }
    });
}
