//! The laws that every layer keeps, for this one.

use towerkit_core::LayerExt;
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_log::{Format, LogLayer};
use towerkit_test::{Subject, contract};

/// Adds a subscriber, without which the layer would have no state for a call.
fn layer() -> LogLayer {
    static LOGS: std::sync::Once = std::sync::Once::new();
    LOGS.call_once(|| {
        let subscriber = towerkit_log::subscriber(Format::Json).writer(std::io::sink);
        subscriber.try_init().expect("the first of the process");
    });
    LogLayer::new()
}

contract!(plain, PlainClient, Subject::new(layer().plain("probe")));
contract!(rpc, RpcClient, Subject::new(layer().rpc()));
contract!(http, HttpClient, Subject::new(layer().http()));
contract!(grpc, GrpcClient, Subject::new(layer().grpc()));
