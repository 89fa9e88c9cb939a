//! The laws that every layer keeps, for this one.

use towerkit_core::LayerExt;
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Subject, contract, laws::nonsense_is_refused};

fn layer() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_second(1000).unwrap())
}

contract!(plain, PlainCalls, Subject::new(layer().plain("probe")));
contract!(http, HttpCalls, Subject::new(layer().http()));
contract!(grpc, GrpcCalls, Subject::new(layer().grpc()));

/// T-07
#[test]
fn nonsense_in_the_configuration_is_refused() {
    let burst = |burst| Quota::per_second(1).and_then(|quota| quota.burst(burst));
    nonsense_is_refused(&[
        ("count 0", &|| Quota::per_second(0).is_err()),
        ("burst 0", &|| burst(0).is_err()),
        ("period 0", &|| {
            Quota::new(1, std::time::Duration::ZERO).is_err()
        }),
        ("period MAX", &|| {
            Quota::new(1, std::time::Duration::MAX).is_err()
        }),
    ]);
}
