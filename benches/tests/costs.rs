//! What a call costs in allocations and in the size of its future, which, unlike nanoseconds, a test can hold to.

use allocation_counter::measure;
use tower::{Layer, Service};
use towerkit_benches::{HttpRequest, Late, Ready, call_http, call_plain, ours, runtime};
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;

/// Allocations of a hundred calls, after a hundred others.
macro_rules! allocations {
    ($call:ident, $service:expr) => {{
        let mut service = $service;
        (0..100).for_each(|_| $call(&mut service));
        measure(|| (0..100).for_each(|_| $call(&mut service))).count_total
    }};
}

/// A layer allocates nothing, over either inner service, plain and over HTTP.
macro_rules! assert_free {
    ($layer:expr) => {
        let (ready, late): (Ready, Late) = (Ready::new(), Late::new());
        assert_eq!(
            allocations!(call_plain, $layer.plain("double").layer(ready.clone())),
            0
        );
        assert_eq!(
            allocations!(call_plain, $layer.plain("double").layer(late.clone())),
            0
        );
        assert_eq!(allocations!(call_http, $layer.http().layer(ready)), 0);
        assert_eq!(allocations!(call_http, $layer.http().layer(late)), 0);
    };
}

#[test]
fn an_admitted_call_of_a_rate_limit_allocates_nothing() {
    assert_free!(ours::rate_limit(Clock::monotonic()));
}

#[test]
fn a_call_of_a_closed_breaker_allocates_nothing() {
    assert_free!(ours::circuit_breaker(Clock::monotonic()));
}

#[test]
fn a_call_in_time_allocates_nothing() {
    let runtime = runtime();
    let _entered = runtime.enter();
    assert_free!(ours::timeout());
}

#[test]
fn a_call_of_a_known_series_allocates_nothing() {
    assert_free!(ours::metrics(Clock::monotonic()));
}

#[test]
fn a_log_that_is_off_allocates_nothing() {
    assert_free!(ours::log(Clock::monotonic()));
}

#[test]
fn a_row_of_all_roles_allocates_nothing() {
    assert_free!(ours::policies(Clock::fast()));
}

#[test]
fn a_clone_of_a_row_allocates_nothing() {
    let service = ours::policies(Clock::fast())
        .http()
        .layer(Ready::<http_body_util::Full<bytes::Bytes>>::new());
    assert_eq!(measure(|| drop(service.clone())).count_total, 0);
}

fn future_size<Req, S: Service<Req>>(_service: &S) -> usize {
    size_of::<S::Future>()
}

/// What a layer adds to the future of the inner service, over HTTP.
fn over_http(service: &impl Service<HttpRequest>) -> usize {
    let inner: Ready = Ready::new();
    future_size::<HttpRequest, _>(service) - future_size::<HttpRequest, _>(&inner)
}

#[test]
fn the_future_of_a_row_over_http_is_small() {
    let inner: Ready = Ready::new();
    let policies = ours::policies(Clock::fast()).http().layer(inner);
    let size = future_size::<HttpRequest, _>(&policies);
    assert!(size <= 300, "{size}");
}

/// Two policies of each kind, so that the policy stack is as long as the canonical one will be.
#[test]
fn the_future_of_six_roles_over_http_is_small() {
    let inner: Ready = Ready::new();
    let six = towerkit_core::stack((
        ours::log(Clock::fast()),
        ours::metrics(Clock::fast()),
        ours::metrics(Clock::fast()),
        ours::rate_limit(Clock::fast()),
        ours::rate_limit(Clock::fast()),
        ours::circuit_breaker(Clock::fast()),
    ));
    let size = future_size::<HttpRequest, _>(&six.http().layer(inner));
    assert!(size <= 300, "{size}");
}

#[test]
fn one_layer_adds_little_to_the_future() {
    let inner: Ready = Ready::new();
    let sizes = [
        (
            "rate limit",
            over_http(&ours::rate_limit(Clock::fast()).http().layer(inner.clone())),
            40,
        ),
        (
            "breaker",
            over_http(
                &ours::circuit_breaker(Clock::fast())
                    .http()
                    .layer(inner.clone()),
            ),
            // A breaker keeps the start of a call, to recognise slow calls.
            48,
        ),
        (
            "metrics",
            over_http(&ours::metrics(Clock::fast()).http().layer(inner.clone())),
            72,
        ),
        (
            "log",
            over_http(&ours::log(Clock::fast()).http().layer(inner.clone())),
            128,
        ),
        (
            "timeout",
            over_http(&ours::timeout().http().layer(inner)),
            // The timer of tokio, and the name of the layer for a rejection.
            168,
        ),
    ];
    for (layer, size, most) in sizes {
        assert!(size <= most, "{layer}: {size}");
    }
}
