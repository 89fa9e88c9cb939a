//! The laws that every layer keeps, for this one.

use std::time::Duration;

use tower::layer::util::Stack;
use towerkit_core::LayerExt;
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_test::{Subject, contract, laws};
use towerkit_timeout::{DeadlineInjectLayer, DeadlineLayer, TimeoutLayer};

fn layer() -> TimeoutLayer {
    TimeoutLayer::new(Duration::from_secs(90)).unwrap()
}

contract!(plain, PlainClient, Subject::new(layer().plain("probe")));
contract!(rpc, RpcClient, Subject::new(layer().rpc()));
contract!(http, HttpClient, Subject::new(layer().http()));
contract!(grpc, GrpcClient, Subject::new(layer().grpc()));
contract!(
    shorter_than_the_call,
    PlainClient,
    Subject::new(
        TimeoutLayer::new(Duration::from_secs(1))
            .unwrap()
            .plain("probe")
    )
);

fn deadline() -> DeadlineLayer {
    DeadlineLayer::new(Duration::from_secs(90)).unwrap()
}

fn inject() -> DeadlineInjectLayer {
    DeadlineInjectLayer::new()
}

contract!(
    deadline_plain,
    PlainClient,
    Subject::new(deadline().plain("probe"))
);
contract!(deadline_rpc, RpcClient, Subject::new(deadline().rpc()));
contract!(deadline_http, HttpClient, Subject::new(deadline().http()));
contract!(deadline_grpc, GrpcClient, Subject::new(deadline().grpc()));
contract!(
    inject_plain,
    PlainClient,
    Subject::new(inject().plain("probe"))
);
contract!(inject_rpc, RpcClient, Subject::new(inject().rpc()));
contract!(inject_http, HttpClient, Subject::new(inject().http()));
contract!(inject_grpc, GrpcClient, Subject::new(inject().grpc()));
contract!(
    with_a_deadline,
    HttpClient,
    Subject::new(Stack::new(layer().http(), deadline().http()))
);

#[cfg(feature = "http")]
mod body {
    use towerkit_timeout::BodyTimeoutLayer;

    use super::*;

    fn body() -> BodyTimeoutLayer {
        let second = Duration::from_secs(1);
        BodyTimeoutLayer::new(second)
            .unwrap()
            .total(second)
            .unwrap()
    }

    contract!(http, HttpClient, Subject::new(body().http()));
    contract!(grpc, GrpcClient, Subject::new(body().grpc()));

    /// T-07
    #[test]
    fn invalid_settings_are_rejected() {
        laws::invalid_settings_are_rejected(&[
            ("idle 0", &|| BodyTimeoutLayer::new(Duration::ZERO).is_err()),
            ("idle MAX", &|| {
                BodyTimeoutLayer::new(Duration::MAX).is_err()
            }),
            ("total 0", &|| body().total(Duration::ZERO).is_err()),
            ("total MAX", &|| body().total(Duration::MAX).is_err()),
        ]);
    }
}

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    laws::invalid_settings_are_rejected(&[
        ("0", &|| TimeoutLayer::new(Duration::ZERO).is_err()),
        ("MAX", &|| TimeoutLayer::new(Duration::MAX).is_err()),
        ("u64::MAX s", &|| {
            TimeoutLayer::new(Duration::from_secs(u64::MAX)).is_err()
        }),
        ("deadline 0", &|| {
            DeadlineLayer::new(Duration::ZERO).is_err()
        }),
        ("deadline MAX", &|| {
            DeadlineLayer::new(Duration::MAX).is_err()
        }),
        ("no header", &|| deadline().header("").is_err()),
        ("no header to inject", &|| inject().header("").is_err()),
    ]);
}
