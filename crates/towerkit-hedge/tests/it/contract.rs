//! The laws of every layer.

use std::time::Duration;

use towerkit_core::{LayerExt, NoProtocol};
use towerkit_endpoint::RpcExt;
use towerkit_hedge::{HedgeLayer, Percentile};
use towerkit_http::HttpExt;
use towerkit_retry::Always;
use towerkit_test::{Subject, contract, laws, tokio_clock};

const MINUTE: Duration = Duration::from_secs(60);

fn after(delay: Duration) -> HedgeLayer<NoProtocol, Always> {
    HedgeLayer::after(delay).unwrap().idempotent()
}

fn at_percentile() -> HedgeLayer<NoProtocol, Always> {
    HedgeLayer::at(Percentile::new(0.95).unwrap())
        .clock(tokio_clock())
        .idempotent()
}

fn slower_than_the_call() -> HedgeLayer<NoProtocol, Always> {
    after(2 * MINUTE)
}

fn faster_than_the_call() -> HedgeLayer<NoProtocol, Always> {
    after(Duration::from_secs(1))
}

contract!(
    plain,
    PlainClient,
    Subject::new(slower_than_the_call().plain("probe"))
);
contract!(rpc, RpcClient, Subject::new(slower_than_the_call().rpc()));
contract!(
    http,
    HttpClient,
    Subject::new(slower_than_the_call().http())
);
contract!(
    grpc,
    GrpcClient,
    Subject::new(slower_than_the_call().grpc())
);
contract!(
    hedged,
    PlainClient,
    Subject::new(faster_than_the_call().plain("probe"))
);
contract!(
    hedged_rpc,
    RpcClient,
    Subject::new(faster_than_the_call().rpc())
);
contract!(
    hedged_http,
    HttpClient,
    Subject::new(faster_than_the_call().http())
);
contract!(
    hedged_grpc,
    GrpcClient,
    Subject::new(faster_than_the_call().grpc())
);
contract!(
    percentile,
    PlainClient,
    Subject::new(at_percentile().plain("probe"))
);
contract!(
    percentile_rpc,
    RpcClient,
    Subject::new(at_percentile().rpc())
);
contract!(
    not_idempotent,
    PlainClient,
    Subject::new(HedgeLayer::after(MINUTE).unwrap().plain("probe"))
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let layer = || HedgeLayer::after(MINUTE).unwrap();
    let percentile = || Percentile::new(0.5).unwrap();
    laws::invalid_settings_are_rejected(&[
        ("a delay of 0", &|| {
            HedgeLayer::after(Duration::ZERO).is_err()
        }),
        ("a delay of MAX", &|| {
            HedgeLayer::after(Duration::MAX).is_err()
        }),
        ("a delay of 72 minutes", &|| {
            HedgeLayer::after(72 * MINUTE).is_err()
        }),
        ("percentile 0", &|| Percentile::new(0.0).is_err()),
        ("percentile 1", &|| Percentile::new(1.0).is_err()),
        ("percentile 95", &|| Percentile::new(95.0).is_err()),
        ("percentile -1", &|| Percentile::new(-1.0).is_err()),
        ("percentile 1e-7", &|| Percentile::new(1e-7).is_err()),
        ("percentile 1 - 1e-7", &|| {
            Percentile::new(1.0 - 1e-7).is_err()
        }),
        ("percentile NaN", &|| Percentile::new(f64::NAN).is_err()),
        ("percentile inf", &|| {
            Percentile::new(f64::INFINITY).is_err()
        }),
        ("floor > ceiling", &|| {
            percentile().between(2 * MINUTE, MINUTE).is_err()
        }),
        ("floor 0", &|| {
            percentile().between(Duration::ZERO, MINUTE).is_err()
        }),
        ("ceiling MAX", &|| {
            percentile().between(MINUTE, Duration::MAX).is_err()
        }),
        ("0 samples", &|| percentile().minimum_samples(0).is_err()),
        ("a window of 0", &|| {
            percentile().window(Duration::ZERO).is_err()
        }),
        ("a window of MAX", &|| {
            percentile().window(Duration::MAX).is_err()
        }),
        ("0 hedges", &|| layer().max_hedges(0).is_err()),
        ("5 hedges", &|| layer().max_hedges(5).is_err()),
        ("a ratio of 0", &|| layer().cap(0.0, 10).is_err()),
        ("a ratio of -1", &|| layer().cap(-1.0, 10).is_err()),
        ("a ratio of NaN", &|| layer().cap(f64::NAN, 10).is_err()),
        ("a ratio of inf", &|| {
            layer().cap(f64::INFINITY, 10).is_err()
        }),
        ("a burst of 0", &|| layer().cap(0.05, 0).is_err()),
        ("a ratio of 2, live", &|| {
            layer().handle().set_cap(2.0, 10).is_err()
        }),
        ("a delay of 0, live", &|| {
            layer().handle().set_delay(Duration::ZERO).is_err()
        }),
    ]);
}
