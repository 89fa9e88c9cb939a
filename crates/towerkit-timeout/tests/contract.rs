//! The laws that every layer keeps, for this one.

use std::time::Duration;

use towerkit_core::LayerExt;
use towerkit_http::HttpExt;
use towerkit_test::{Subject, contract, laws::nonsense_is_refused};
use towerkit_timeout::TimeoutLayer;

fn layer() -> TimeoutLayer {
    TimeoutLayer::new(Duration::from_secs(90)).unwrap()
}

contract!(plain, PlainCalls, Subject::new(layer().plain("probe")));
contract!(http, HttpCalls, Subject::new(layer().http()));
contract!(grpc, GrpcCalls, Subject::new(layer().grpc()));
contract!(
    shorter_than_the_call,
    PlainCalls,
    Subject::new(TimeoutLayer::new(Duration::from_secs(1)).unwrap())
);

/// T-07
#[test]
fn nonsense_in_the_configuration_is_refused() {
    nonsense_is_refused(&[
        ("0", &|| TimeoutLayer::new(Duration::ZERO).is_err()),
        ("MAX", &|| TimeoutLayer::new(Duration::MAX).is_err()),
        ("u64::MAX s", &|| {
            TimeoutLayer::new(Duration::from_secs(u64::MAX)).is_err()
        }),
    ]);
}
