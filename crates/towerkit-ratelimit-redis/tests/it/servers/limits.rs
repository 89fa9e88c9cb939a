//! Limits while Redis is reachable.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use towerkit_core::RejectionReason;
use towerkit_ratelimit::Quota;
use towerkit_ratelimit_redis::{KeyExtractor, RedisRateLimitLayer, redis::cmd};

use super::{
    call, quota, request_key,
    server::{Server, until},
    service,
};

/// Calls from several tasks until the time is over; returns the start and the end of each admitted call.
async fn call_from_tasks<K>(
    layer: &RedisRateLimitLayer<K>,
    time: Duration,
    pause: Duration,
) -> Vec<(Instant, Instant)>
where
    K: KeyExtractor<String, Key: Display> + Send + Sync + 'static,
{
    let tasks = (0..4).map(|_| {
        let service = service(layer);
        tokio::spawn(async move {
            let (start, mut admitted) = (Instant::now(), Vec::new());
            while start.elapsed() < time {
                let begun = Instant::now();
                if call(&service, "Ann").await.is_ok() {
                    admitted.push((begun, Instant::now()));
                }
                tokio::time::sleep(pause).await;
            }
            admitted
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.extend(task.await.unwrap());
    }
    all
}

/// RL-01, over processes: the bound that the crate documents holds in every window.
///
/// A call takes its token between its start and its end, so the calls that lie entirely in a window are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn no_window_admits_more_than_burst_plus_rate_plus_leases() {
    const PROCESSES: u32 = 4;
    const LEASE: u32 = 10;
    let server = Server::start();
    let layers = [0; PROCESSES as usize].map(|_| {
        RedisRateLimitLayer::new(server.client(), quota(500, 100))
            .unwrap()
            .lease(LEASE, Duration::from_secs(1))
            .unwrap()
            .fail_closed()
    });
    let (start, time) = (Instant::now(), Duration::from_secs(3));
    let all = layers
        .iter()
        .map(|layer| call_from_tasks(layer, time, Duration::from_millis(1)));
    let all = futures_util::future::join_all(all).await;
    let mut admitted: Vec<_> = all.into_iter().flatten().collect();
    let flowed = 500.0 * start.elapsed().as_secs_f64();
    let total = admitted.len() as f64;
    assert!(total <= 100.0 + flowed, "{total} of {flowed}");

    admitted.sort_by_key(|(_, end)| *end);
    for (start, _) in &admitted {
        let mut inside = 0;
        for (_, end) in admitted.iter().filter(|(begun, _)| begun >= start) {
            inside += 1;
            let flowed = 500.0 * end.duration_since(*start).as_secs_f64();
            let bound = f64::from(100 + PROCESSES * LEASE) + flowed;
            assert!(
                f64::from(inside) <= bound,
                "{inside} calls, {bound} allowed"
            );
        }
    }
}

/// A call that is admitted from a lease sends no command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn in_the_steady_state_a_lease_serves_many_calls() {
    let server = Server::start();
    let layer = RedisRateLimitLayer::new(server.client(), quota(100_000, 100_000)).unwrap();
    let admitted = call_from_tasks(&layer, Duration::from_secs(2), Duration::from_micros(10)).await;
    let stats: String = cmd("INFO")
        .arg("commandstats")
        .query(&mut server.connection())
        .unwrap();
    let (_, after) = stats.split_once("cmdstat_evalsha:calls=").unwrap();
    let asked: usize = after.split_once(',').unwrap().0.parse().unwrap();
    assert!(
        asked * 10 < admitted.len(),
        "{asked} requests for {} calls",
        admitted.len()
    );
}

/// RL-03
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_call_after_retry_after_is_admitted() {
    let server = Server::start();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1, 2)).unwrap();
    let service = service(&layer.fail_closed());
    for _ in 0..2 {
        call(&service, "Ann").await.unwrap();
    }
    for _ in 0..2 {
        let rejected = call(&service, "Ann").await.unwrap_err();
        assert_eq!(rejected.reason(), RejectionReason::RateLimited);
        let wait = rejected.retry_after().unwrap();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        tokio::time::sleep(wait).await;
        call(&service, "Ann").await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn an_idle_key_expires_on_redis() {
    let server = Server::start();
    let layer = RedisRateLimitLayer::new(server.client(), quota(10, 5)).unwrap();
    let service = service(&layer.key(request_key).prefix("shop"));
    call(&service, "Ann").await.unwrap();
    let mut connection = server.connection();
    let left: i64 = cmd("PTTL").arg("shop:Ann").query(&mut connection).unwrap();
    assert!((1..=101).contains(&left), "{left}");
    until("the key is gone", || {
        cmd("DBSIZE").query::<u64>(&mut connection).unwrap() == 0
    });
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_lost_the_script_gets_it_again() {
    let server = Server::start();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1000, 10)).unwrap();
    let service = service(&layer.fail_closed());
    for _ in 0..5 {
        call(&service, "Ann").await.unwrap();
        cmd("SCRIPT")
            .arg("FLUSH")
            .query::<()>(&mut server.connection())
            .unwrap();
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_key_with_a_foreign_value_does_not_affect_others() {
    let server = Server::start();
    let mut connection = server.connection();
    cmd("SET")
        .arg("shop:Ann")
        .arg("hello")
        .query::<()>(&mut connection)
        .unwrap();
    cmd("LPUSH")
        .arg("shop:Bob")
        .arg("hello")
        .query::<i64>(&mut connection)
        .unwrap();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1000, 100)).unwrap();
    let layer = layer.key(request_key).prefix("shop").fail_closed();
    let service = service(&layer);
    for _ in 0..5 {
        for key in ["Ann", "Bob"] {
            let rejected = call(&service, key).await.unwrap_err();
            assert_eq!(rejected.reason(), RejectionReason::Unavailable);
        }
        call(&service, "Eve").await.unwrap();
    }
    assert!(layer.handle().snapshot().reachable);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_changed_quota_keeps_the_spent_tokens() {
    let server = Server::start();
    let minute = Duration::from_secs(60);
    let quota = |count, burst| Quota::new(count, minute).unwrap().burst(burst).unwrap();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1, 3))
        .unwrap()
        .fail_closed();
    let (service, handle) = (service(&layer), layer.handle());
    for _ in 0..3 {
        call(&service, "Ann").await.unwrap();
    }
    handle.set_quota(quota(7, 5)).unwrap();
    let admitted = [call(&service, "Ann").await, call(&service, "Ann").await];
    assert!(admitted.iter().all(Result::is_ok), "two more fit in");
    assert!(call(&service, "Ann").await.is_err());
    handle.set_quota(quota(7, 1)).unwrap();
    let rejected = call(&service, "Ann").await.unwrap_err();
    assert!(rejected.retry_after().unwrap() <= minute / 7 + Duration::from_millis(1));
}
