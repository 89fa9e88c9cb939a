//! Outages of Redis.

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

use super::{call, quota, request_key, server::Server, service};

const MILLI: Duration = Duration::from_millis(1);

/// A deadline that a loaded machine meets.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server is killed and restarted under load. The limit fails open: no call fails or waits for long, and each outage is reported once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_redis_that_dies_under_load_fails_no_call() {
    let mut server = Server::start();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = RedisRateLimitLayer::new(server.client(), quota(1_000_000, 1_000_000))
        .unwrap()
        .key(request_key)
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
                call(&service, &key).await.expect("the limit fails open");
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
async fn a_limit_that_fails_closed_rejects_during_an_outage() {
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

/// A server that accepts connections and does not reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_silent_redis_delays_few_calls() {
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

/// A TCP proxy whose upstream can be changed for new connections.
struct Proxy {
    port: u16,
    upstream: Arc<AtomicU16>,
}

impl Proxy {
    async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = Arc::new(AtomicU16::new(server.port));
        let current = upstream.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = current.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { port, upstream }
    }
}

/// After a failover the old master is a replica: it rejects writes, on connections that stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_failover_is_followed() {
    let (old, new) = (Server::start(), Server::start());
    let proxy = Proxy::start(&old).await;
    let client = format!("redis://127.0.0.1:{}", proxy.port);
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
    proxy.upstream.store(new.port, Ordering::SeqCst);
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

/// The port is closed, so this test needs no server.
#[tokio::test]
async fn without_a_server_each_process_applies_the_quota() {
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

async fn eventually(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never");
        tokio::time::sleep(MILLI).await;
    }
}
