//! The laws of every layer. The state of a call is its part of the gauge of active calls.

use towerkit_core::LayerExt;
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_metrics::{Buckets, MetricsLayer, Registry};
use towerkit_test::{Subject, contract, laws};

use crate::scrape::Scraped;

/// MT-04 is T-03 and T-04 with this.
fn subject<L>(active: &'static str, layer: impl FnOnce(MetricsLayer) -> L) -> Subject<L> {
    let registry = Registry::new();
    let layer = layer(MetricsLayer::new().registry(registry.clone()));
    Subject::new(layer)
        .count_resources(move || Scraped::of(&registry).all(active).iter().sum::<f64>() as i64)
}

contract!(
    plain,
    PlainClient,
    subject("towerkit_calls_active", |layer| layer.plain("probe"))
);
contract!(
    rpc,
    RpcClient,
    subject("towerkit_calls_active", MetricsLayer::rpc)
);
contract!(
    http,
    HttpClient,
    subject("http_server_active_requests", MetricsLayer::http)
);
contract!(
    grpc,
    GrpcClient,
    subject("towerkit_rpc_server_active_calls", MetricsLayer::grpc)
);

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let rejected = |bounds: &[f64]| Buckets::new(bounds.iter().copied()).is_err();
    laws::invalid_settings_are_rejected(&[
        ("no bound", &|| rejected(&[])),
        ("NaN", &|| rejected(&[f64::NAN])),
        ("infinite", &|| rejected(&[f64::INFINITY])),
        ("falling", &|| rejected(&[1.0, -1.0])),
        ("equal", &|| rejected(&[1.0, 1.0])),
    ]);
}
