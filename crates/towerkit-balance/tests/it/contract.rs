//! The laws that every layer keeps, for this one.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use towerkit_balance::{
    Balance, BalanceHandle, BalanceLayer, BuildTable, Maglev, OutlierEjection, P2c, PeakEwma,
    RoundRobin,
};
use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_concurrency::{ConcurrencyLimitHandle, ConcurrencyLimitLayer};
use towerkit_core::{IntoPolicy, Layer, LayerExt, stack};
use towerkit_discovery::{Discovery, Instance, InstanceService};
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_test::{Probe, Subject, contract, laws};

/// Balances over one instance.
struct OneInstance<C, P, G> {
    layer: BalanceLayer<C, P>,
    guards: G,
}

impl<C, P, G> Layer<Probe> for OneInstance<C, P, G>
where
    C: BuildTable,
    P: Clone,
    G: Fn() -> Guards + Clone + Send + Sync + 'static,
{
    type Service = Balance<Probe, <Guards as IntoPolicy>::Policy, C, P>;

    fn layer(&self, probe: Probe) -> Self::Service {
        let instance = Instance::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        let guards = self.guards.clone();
        let endpoints = Discovery::fixed([instance])
            .endpoints(move |_| InstanceService::new(probe.clone()).guards(guards()));
        self.layer.layer(endpoints)
    }
}

type Guards = (CircuitBreakerLayer, ConcurrencyLimitLayer);

/// Counts the calls in flight, of the balancer and of a limit among the guards.
fn subject<C, P>(
    layer: BalanceLayer<C, P>,
) -> Subject<OneInstance<C, P, impl Fn() -> Guards + Clone + Send + Sync + 'static>>
where
    C: BuildTable,
    P: 'static,
{
    let handle: BalanceHandle = layer.handle();
    let limit: Arc<OnceLock<ConcurrencyLimitHandle>> = Arc::default();
    let seen = limit.clone();
    let guards = move || {
        let layer = ConcurrencyLimitLayer::new(1_000).unwrap();
        let _ = limit.set(layer.handle());
        (CircuitBreakerLayer::new(), layer)
    };
    Subject::new(OneInstance { layer, guards }).count_resources(move || {
        let calls: usize = handle
            .snapshot()
            .instances
            .iter()
            .map(|instance| instance.calls_in_flight)
            .sum();
        let limited = seen.get().map_or(0, |limit| limit.snapshot().in_flight);
        assert_eq!(calls as u64, u64::from(limited));
        calls as i64
    })
}

fn p2c() -> BalanceLayer<P2c> {
    BalanceLayer::new(P2c::new())
}

contract!(
    plain,
    PlainClient,
    always_ready,
    subject(p2c().plain("probe"))
);
contract!(rpc, RpcClient, always_ready, subject(p2c().rpc()));
contract!(http, HttpClient, always_ready, subject(p2c().http()));
contract!(grpc, GrpcClient, always_ready, subject(p2c().grpc()));
contract!(
    round_robin,
    PlainClient,
    always_ready,
    subject(BalanceLayer::new(RoundRobin::new()).plain("probe"))
);
contract!(
    peak_ewma,
    HttpClient,
    always_ready,
    subject(BalanceLayer::new(PeakEwma::new()).http())
);
contract!(
    maglev,
    HttpClient,
    always_ready,
    subject(BalanceLayer::new(Maglev::new(towerkit_balance::ByHeader::new("x-user"))).http())
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let rule = OutlierEjection::new;
    let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
    laws::invalid_settings_are_rejected(&[
        ("floor", &|| PeakEwma::new().floor(zero).is_err()),
        ("failures", &|| rule().consecutive_failures(0).is_err()),
        ("base", &|| rule().time(zero, second).is_err()),
        ("base above max", &|| {
            rule().time(2 * second, second).is_err()
        }),
        ("max", &|| rule().time(second, Duration::MAX).is_err()),
        ("ratio below", &|| rule().max_ratio(-0.1).is_err()),
        ("ratio above", &|| rule().max_ratio(1.1).is_err()),
        ("ratio NaN", &|| rule().max_ratio(f64::NAN).is_err()),
        ("min_instances", &|| p2c().prefer_zone("a", 0).is_err()),
    ]);
}

#[test]
fn services_and_futures_are_send() {
    fn send_sync<T: Send + Sync>(_: &T) {}
    fn send<T: Send>(_: &T) {}
    let layer = p2c().http();
    send_sync(&layer);
    send_sync(&layer.handle());
    let endpoints = Discovery::fixed([]).endpoints(|_| InstanceService::new(Probe::new()));
    let mut service = layer.layer(endpoints);
    send_sync(&service);
    let request = ::http::Request::new(towerkit_test::Action::Succeed);
    send(&tower::Service::call(&mut service, request));
}

#[expect(dead_code, reason = "it must compile")]
fn a_stack_of_guards_is_a_policy_of_an_instance() {
    let _ = stack((CircuitBreakerLayer::new(), CircuitBreakerLayer::new())).into_policy();
}
