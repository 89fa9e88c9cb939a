//! A call that is placed at once allocates nothing.

use std::{
    future::{Ready, ready},
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, Service};
use towerkit_balance::{
    Balance, BalanceLayer, ByCookie, ByHeader, Maglev, P2c, PeakEwma, Picker, Random, RoundRobin,
    WeightedRoundRobin,
};
use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{AttemptedInstances, BoxError, LayerExt, RunPolicy};
use towerkit_discovery::{Discovery, Instance, InstanceService};
use towerkit_http::{Http, HttpExt};

#[derive(Clone)]
struct Succeeds;

impl Service<u32> for Succeeds {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        ready(Ok(n))
    }
}

impl Service<Request<()>> for Succeeds {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Empty<Bytes>>, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Ten instances with different weights.
fn instances() -> Discovery {
    Discovery::fixed((0..10u16).map(|n| {
        Instance::from(SocketAddr::from(([10, 0, 0, n as u8], 80))).weight(1 + u32::from(n % 3))
    }))
}

fn plain<C: Picker<u32>>(picker: C) {
    let endpoints = instances().endpoints(|_| InstanceService::new(Succeeds));
    none_allocated(BalanceLayer::new(picker).plain("test").layer(endpoints));
}

fn none_allocated<R: RunPolicy<u32> + Send + Sync + 'static, C: Picker<u32>>(
    mut service: Balance<Succeeds, R, C, towerkit_core::Plain>,
) {
    let mut attempted = AttemptedInstances::default();
    let seen = measure(|| {
        let mut cx = Context::from_waker(Waker::noop());
        for n in 0..1_000 {
            assert!(Service::<u32>::poll_ready(&mut service, &mut cx).is_ready());
            assert!(pin!(service.call(n)).poll(&mut cx).is_ready());
        }
        // As below a retry.
        attempted.enter(|| assert!(pin!(service.call(1)).poll(&mut cx).is_ready()));
    });
    assert_eq!(seen.count_total, 0);
}

#[test]
fn no_picker_allocates() {
    plain(RoundRobin::new());
    plain(WeightedRoundRobin::new());
    plain(Random::new());
    plain(P2c::new());
    plain(PeakEwma::new());
    plain(Maglev::new(|call: &towerkit_core::Call<'_, u32>| {
        Some(*call.request)
    }));
}

#[test]
fn guards_of_instances_allocate_nothing() {
    let endpoints = instances().endpoints(|_| {
        let limit = ConcurrencyLimitLayer::new(100).unwrap();
        InstanceService::new(Succeeds).guards((CircuitBreakerLayer::new(), limit))
    });
    none_allocated(BalanceLayer::new(P2c::new()).plain("test").layer(endpoints));
}

#[test]
fn nothing_is_allocated_while_failures_weigh_on() {
    let (discovery, sender) = Discovery::channel();
    let add = |n| Instance::from(SocketAddr::from(([10, 0, 0, n as u8], 80)));
    sender.set((0..3).map(add));
    let endpoints = discovery.endpoints(|_| InstanceService::new(Succeeds));
    let layer = BalanceLayer::new(P2c::new()).slow_start(Duration::from_secs(3600));
    let service = layer.plain("test").layer(endpoints);
    sender.set((0..5).map(add));
    none_allocated(service);
}

fn http<C: Picker<Request<()>>>(picker: C) {
    let endpoints = instances().endpoints(|_| InstanceService::new(Succeeds));
    let mut service: Balance<_, _, _, Http> = BalanceLayer::new(picker).http().layer(endpoints);
    let request = || {
        Request::get("/")
            .header("cookie", "a=b; id=7")
            .body(())
            .unwrap()
    };
    let seen = measure(|| drop(request()));
    let called = measure(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(service.call(request())).poll(&mut cx) else {
            panic!("not served");
        };
        assert!(
            pin!(response.into_body().collect())
                .poll(&mut cx)
                .is_ready()
        );
    });
    assert_eq!(called.count_total, seen.count_total);
}

#[test]
fn nothing_is_allocated_over_http() {
    http(P2c::new());
    http(PeakEwma::new());
    http(Maglev::new(ByCookie::new("id")));
    http(Maglev::new(ByHeader::new("cookie")));
}
