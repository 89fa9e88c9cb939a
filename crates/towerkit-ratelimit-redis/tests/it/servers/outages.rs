//! What holds while Redis is not there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use towerkit_core::{Event, RejectionReason};
use towerkit_programs::free_port;
use towerkit_ratelimit_redis::{RedisRateLimitLayer, redis::cmd};

use super::{call, quota, server::Server, service, who};

const MILLI: Duration = Duration::from_millis(1);

/// Longer than any answer takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Killed and started again under load, with an open limit: no caller hears of it, none waits for long, and it is found again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_redis_that_dies_under_load_is_no_error() {
    let mut server = Server::start();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1_000_000, 1_000_000))
        .unwrap()
        .key(who)
        .lease(20, Duration::from_secs(1))
        .unwrap()
        .timeout(PATIENCE)
        .unwrap()
        .fail_open()
        .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
    let over = Arc::new(AtomicBool::new(false));
    let tasks = (0..8).map(|task| {
        let (service, over) = (service(&layer), over.clone());
        tokio::spawn(async move {
            let (mut calls, mut slowest) = (0u32, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let key = (task * 1000 + calls % 50).to_string();
                call(&service, &key).await.expect("no caller hears of it");
                slowest = slowest.max(begun.elapsed());
                calls += 1;
                tokio::time::sleep(MILLI).await;
            }
            (calls, slowest)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let pause = || tokio::time::sleep(700 * MILLI);
    for _ in 0..2 {
        pause().await;
        server.kill();
        eventually(|| !layer.handle().snapshot().reachable).await;
        pause().await;
        server.restart();
        eventually(|| layer.handle().snapshot().reachable).await;
    }
    pause().await;
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        let (calls, slowest) = task.await.unwrap();
        assert!(calls > 0 && slowest < PATIENCE, "{calls}, {slowest:?}");
    }
    let changed = |reachable| Event::StoreChanged {
        name: "ratelimit".into(),
        reachable,
    };
    let expected = [false, true, false, true].map(changed);
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_closed_limit_rejects_while_redis_is_away() {
    let mut server = Server::start();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1000, 10)).unwrap();
    let service = service(&layer.fail_closed());
    call(&service, "Ann").await.unwrap();
    server.kill();
    let begun = Instant::now();
    while begun.elapsed() < 500 * MILLI {
        if let Err(rejected) = call(&service, "Ann").await {
            assert_eq!(rejected.reason(), RejectionReason::Unavailable);
            assert!((MILLI..=500 * MILLI).contains(&rejected.retry_after().unwrap()));
        }
        tokio::time::sleep(5 * MILLI).await;
    }
    server.restart();
    let begun = Instant::now();
    while call(&service, "Ann").await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "never back");
        tokio::time::sleep(MILLI).await;
    }
}

/// A server that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_silent_redis_does_not_cost_every_call_the_timeout() {
    let server = Server::start();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1000, 10))
        .unwrap()
        .timeout(50 * MILLI)
        .unwrap()
        .fail_open();
    let service = service(&layer);
    call(&service, "Ann").await.unwrap();
    server.signal("STOP");
    let mut slow = 0;
    for _ in 0..400 {
        let begun = Instant::now();
        call(&service, "Ann").await.unwrap();
        slow += u32::from(begun.elapsed() >= 50 * MILLI);
        tokio::time::sleep(MILLI).await;
    }
    assert!(slow < 100, "{slow} of 400 calls were slow");
    assert!(!layer.handle().snapshot().reachable);
    server.signal("CONT");
    let begun = Instant::now();
    while !layer.handle().snapshot().reachable {
        assert!(begun.elapsed() < PATIENCE, "never back");
        call(&service, "Ann").await.unwrap();
        tokio::time::sleep(MILLI).await;
    }
}

/// An address that stays the same while the server behind it changes, for new connections.
struct Front {
    port: u16,
    behind: Arc<AtomicU16>,
}

impl Front {
    async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = Arc::new(AtomicU16::new(server.port));
        let to = behind.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = to.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { port, behind }
    }
}

/// After a failover the old master is a replica: it turns down what is written to it, on connections that stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_failover_is_followed() {
    let (old, new) = (Server::start(), Server::start());
    let front = Front::start(&old).await;
    let client = format!("redis://127.0.0.1:{}", front.port);
    let client = towerkit_ratelimit_redis::redis::Client::open(client).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = RedisRateLimitLayer::new(client, quota(1000, 10))
        .unwrap()
        .fail_closed()
        .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
    let service = service(&layer);
    call(&service, "Ann").await.unwrap();
    let mut replicate = cmd("REPLICAOF");
    replicate.arg("127.0.0.1").arg(new.port);
    replicate.query::<()>(&mut old.connection()).unwrap();
    let begun = Instant::now();
    while layer.handle().snapshot().reachable {
        assert!(begun.elapsed() < PATIENCE, "never away");
        _ = call(&service, "Ann").await;
        tokio::time::sleep(MILLI).await;
    }
    front.behind.store(new.port, Ordering::SeqCst);
    let begun = Instant::now();
    while call(&service, "Ann").await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "never back");
        tokio::time::sleep(MILLI).await;
    }
    let changed = |reachable| Event::StoreChanged {
        name: "ratelimit".into(),
        reachable,
    };
    assert_eq!(*seen.lock().unwrap(), [false, true].map(changed));
}

/// Nobody listens there, which needs no server to try.
#[tokio::test]
async fn without_a_redis_the_quota_holds_in_each_process() {
    let client = format!("redis://127.0.0.1:{}", free_port());
    let client = towerkit_ratelimit_redis::redis::Client::open(client).unwrap();
    let layer = RedisRateLimitLayer::new(client, quota(1, 5)).unwrap();
    let service = service(&layer);
    let mut admitted = 0;
    for _ in 0..20 {
        match call(&service, "Ann").await {
            Ok(()) => admitted += 1,
            Err(rejected) => assert_eq!(rejected.reason(), RejectionReason::RateLimited),
        }
    }
    assert_eq!(admitted, 5);
}

async fn eventually(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never");
        tokio::time::sleep(MILLI).await;
    }
}
