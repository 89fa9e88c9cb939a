//! Instances that fail, are slow, or come new.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use towerkit_balance::{BalanceLayer, P2c, PeakEwma, RoundRobin};
use towerkit_core::{BoxError, Rejection, RejectionReason};
use towerkit_discovery::{Discovery, Instance, InstanceService};
use towerkit_http::HttpExt;
use towerkit_test::tokio_clock;

use super::setup::{
    Load, MS, Reply, SECOND, balance, call, count, instance, instances, layer, replying,
};

/// Nine instances take 10 ms; the last one replies as given.
async fn with_one<C: towerkit_balance::Picker<u64>>(picker: C, reply: Reply) -> Load {
    let endpoints = replying(
        &Discovery::fixed(instances(10)),
        move |number| match number {
            9 => reply,
            _ => (10 * MS, Ok(())),
        },
    );
    Load::run(&balance(picker, endpoints), 10, 100, 50_000).await
}

/// LB-05; linkerd2-proxy 4537, ingress-nginx 9882.
#[tokio::test(start_paused = true)]
async fn an_instance_that_fails_at_once_attracts_no_calls() {
    let failing = (Duration::from_micros(100), Err("broken"));
    for load in [
        with_one(P2c::new(), failing).await,
        with_one(PeakEwma::new(), failing).await,
    ] {
        assert!(load.share(9) <= 0.05, "{}", load.share(9));
    }
    // Round robin goes by turns.
    assert!((with_one(RoundRobin::new(), failing).await.share(9) - 1.0).abs() < 0.02);
}

/// LB-04
#[tokio::test(start_paused = true)]
async fn a_slow_instance_gets_a_small_share() {
    let slow = (100 * MS, Ok(()));
    let p2c = with_one(P2c::new(), slow).await;
    assert!(p2c.share(9) <= 0.2, "{}", p2c.share(9));
    let ewma = with_one(PeakEwma::new(), slow).await;
    assert!(ewma.share(9) <= 0.1, "{}", ewma.share(9));
    assert!(ewma.p99() <= 15 * MS, "{:?}", ewma.p99());
}

/// An instance that is always faster gets more calls, and the others are not starved.
#[tokio::test(start_paused = true)]
async fn a_fast_instance_gets_a_larger_share() {
    let fast = with_one(PeakEwma::new(), (5 * MS, Ok(()))).await;
    assert!((1.2..4.0).contains(&fast.share(9)), "{}", fast.share(9));
    assert!((0..9).all(|number| fast.share(number) > 0.5));
}

/// The latency of an instance that was slow is forgotten.
#[tokio::test(start_paused = true)]
async fn an_instance_that_was_slow_gets_calls_again() {
    let start = tokio::time::Instant::now();
    let endpoints = replying(
        &Discovery::fixed(instances(3)),
        move |number| match number {
            0 if start.elapsed() < 10 * SECOND => (500 * MS, Ok(())),
            _ => (10 * MS, Ok(())),
        },
    );
    let service = balance(PeakEwma::new(), endpoints);
    Load::run(&service, 3, 10, 8_000).await;
    tokio::time::sleep(60 * SECOND).await;
    let later = Load::run(&service, 3, 10, 5_000).await;
    assert!(later.share(0) > 0.8, "{}", later.share(0));
}

/// The published test of Buoyant: one pod answers 200 ms later than the others.
#[tokio::test(start_paused = true)]
async fn one_slow_pod_behind_grpc_leaves_the_tail_of_latencies_alone() {
    async fn p99(delay: Duration) -> Duration {
        let discovery = Discovery::fixed(
            (0..10).map(|n| Instance::from(SocketAddr::from(([10, 0, 0, n as u8], 80)))),
        );
        let endpoints = discovery.endpoints(move |instance| {
            let number = super::setup::number(instance);
            InstanceService::new(service_fn(move |_: Request<Full<Bytes>>| async move {
                let base = Duration::from_micros(5_000 + fastrand_micros(10_000));
                tokio::time::sleep(if number == 0 { base + delay } else { base }).await;
                let mut response = Response::new(Full::<Bytes>::default());
                let headers = response.headers_mut();
                headers.insert("content-type", "application/grpc".parse().unwrap());
                headers.insert("grpc-status", "0".parse().unwrap());
                Ok::<_, BoxError>(response)
            }))
        });
        let service = BalanceLayer::new(PeakEwma::new())
            .clock(tokio_clock())
            .grpc()
            .layer(endpoints);
        let service = tower::util::BoxCloneSyncService::new(
            service
                .map_request(|_: u64| {
                    let request =
                        Request::post("/test.Test/Call").header("content-type", "application/grpc");
                    request.body(Full::<Bytes>::default()).unwrap()
                })
                .map_response(|_| 0u16),
        );
        Load::run(&service, 1, 50, 50_000).await.p99()
    }
    let (well, slow) = (p99(Duration::ZERO).await, p99(200 * MS).await);
    assert!(
        slow.as_secs_f64() <= well.as_secs_f64() * 1.3,
        "{slow:?} instead of {well:?}"
    );
}

fn fastrand_micros(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below
}

/// A rejection inside of the service of an instance is an answer, and must not attract calls either.
#[tokio::test(start_paused = true)]
async fn an_instance_whose_own_layers_reject_at_once_attracts_no_calls() {
    let discovery = Discovery::fixed(instances(10));
    let endpoints = discovery.endpoints(|instance| {
        let number = super::setup::number(instance);
        InstanceService::new(service_fn(move |_: u64| async move {
            if number == 9 {
                let rejection = Rejection::new(RejectionReason::CircuitOpen, "inner");
                return Err(BoxError::from(rejection));
            }
            tokio::time::sleep(10 * MS).await;
            Ok(number)
        }))
    });
    let service = layer(P2c::new()).layer(endpoints);
    let service = tower::util::BoxCloneSyncService::new(service.map_result(
        |result: Result<u16, BoxError>| match result {
            Err(_) => Ok::<_, BoxError>(9),
            ok => ok,
        },
    ));
    let load = Load::run(&service, 10, 100, 20_000).await;
    assert!(load.share(9) <= 0.1, "{}", load.share(9));
}

/// Calls that their callers cancel, such as those behind a timeout, show that an instance is slow.
#[tokio::test(start_paused = true)]
async fn an_instance_whose_calls_are_cancelled_is_slow() {
    let endpoints = replying(&Discovery::fixed(instances(10)), |number| match number {
        9 => (3600 * SECOND, Ok(())),
        _ => (10 * MS, Ok(())),
    });
    let service = balance(PeakEwma::new(), endpoints);
    let mut cancelled = 0;
    for _ in 0..5_000 {
        let call = tokio::time::timeout(100 * MS, service.clone().oneshot(0));
        cancelled += u32::from(call.await.is_err());
    }
    assert!(cancelled <= 25, "{cancelled}");
}

#[tokio::test(start_paused = true)]
async fn without_a_penalty_failures_attract_calls() {
    let endpoints = replying(&Discovery::fixed(instances(10)), |number| match number {
        9 => (MS, Err("broken")),
        _ => (10 * MS, Ok(())),
    });
    let service = layer(P2c::new())
        .failure_penalty(Duration::ZERO)
        .layer(endpoints);
    assert!(Load::run(&service, 10, 100, 20_000).await.share(9) > 1.2);
}

#[tokio::test(start_paused = true)]
async fn the_share_of_a_new_instance_rises_slowly() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(9));
    let endpoints = replying(&discovery, |_| (10 * MS, Ok(())));
    let service = layer(P2c::new()).slow_start(100 * SECOND).layer(endpoints);
    // The first instances are not new to each other.
    let first = Load::run(&service, 9, 90, 9_000).await;
    assert!((0..9).all(|number| (first.share(number) - 1.0).abs() < 0.2));
    sender.set(instances(10));
    let mut shares = Vec::new();
    for _ in 0..4 {
        shares.push(Load::run(&service, 10, 100, 20_000).await.share(9));
        tokio::time::sleep(33 * SECOND).await;
    }
    assert!(shares[0] < 0.2 && shares[3] > 0.9, "{shares:?}");
    assert!(
        shares.windows(2).all(|pair| pair[0] < pair[1]),
        "{shares:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_single_new_instance_gets_all_calls() {
    let (discovery, sender) = Discovery::channel();
    sender.set([instance(1)]);
    let endpoints = replying(&discovery, |_| (Duration::ZERO, Ok(())));
    let service = layer(P2c::new()).slow_start(100 * SECOND).layer(endpoints);
    sender.set([instance(0)]);
    assert_eq!(count(&service, 1, 10).await, [10]);
    assert_eq!(call(&service, 0).await, 0);
}
