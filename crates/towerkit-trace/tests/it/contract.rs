//! The laws that every layer keeps, for this one.

use towerkit_core::LayerExt;
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_test::{Subject, contract, laws};
use towerkit_trace::{Sampler, TraceLayer};

contract!(
    plain,
    PlainClient,
    Subject::new(TraceLayer::internal().plain("probe"))
);
contract!(rpc, RpcClient, Subject::new(TraceLayer::server().rpc()));
contract!(http, HttpClient, Subject::new(TraceLayer::server().http()));
contract!(grpc, GrpcClient, Subject::new(TraceLayer::client().grpc()));
contract!(
    unsampled,
    HttpClient,
    Subject::new(TraceLayer::server().sampler(Sampler::never()).http())
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let rejected =
        |share: f64| Sampler::ratio(share).is_err() && Sampler::always().set_ratio(share).is_err();
    laws::invalid_settings_are_rejected(&[
        ("NaN", &|| rejected(f64::NAN)),
        ("infinite", &|| rejected(f64::INFINITY)),
        ("negative", &|| rejected(-f64::MIN_POSITIVE)),
        ("more than all", &|| rejected(1.0 + f64::EPSILON)),
        ("a cap of 0", &|| {
            TraceLayer::server().remote_sampling_limit(0).is_err()
        }),
    ]);
    assert!(TraceLayer::server().remote_sampling_limit(u32::MAX).is_ok());
    let error = Sampler::ratio(1.5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid ratio 1.5: expected a number from 0 to 1"
    );
}
