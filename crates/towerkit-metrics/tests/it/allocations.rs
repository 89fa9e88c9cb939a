//! A call of a known series allocates nothing (A8.10).

use allocation_counter::measure;
use http::{HeaderValue, Request};
use towerkit_core::{
    Call, CallEnd, DescribeRequest, IntoPolicy, Outcome, Plain, Policy, RunPolicy, Status,
};
use towerkit_http::Http;
use towerkit_metrics::{Buckets, MetricsLayer, Registry};

fn allocations<Req>(
    layer: &MetricsLayer,
    protocol: &dyn DescribeRequest<Req>,
    mut request: Req,
    status: Status,
) -> [u64; 2] {
    let policy = layer.clone().registry(Registry::new()).into_policy();
    let end = CallEnd::new(Outcome::Success)
        .with_status(Some(status))
        .with_head_outcome(Some(Outcome::Success));
    let mut once = || {
        let mut call = Call::new(&mut request, protocol);
        let mut state = RunPolicy::start(&policy, &mut call).unwrap();
        policy.on_response_head(&mut state, &end);
        policy.finish(state, &end);
    };
    [measure(&mut once), measure(&mut once)].map(|info| info.count_total)
}

#[test]
fn a_call_of_a_known_series_allocates_nothing() {
    let http = Http::new().operation(|head| head.uri.path());
    let mut grpc = Request::post("/shop.Orders/Place").body(()).unwrap();
    let content_type = HeaderValue::from_static("application/grpc");
    grpc.headers_mut().insert("content-type", content_type);
    for layer in [
        MetricsLayer::new(),
        MetricsLayer::new()
            .time_to_head()
            .body_sizes(Buckets::bytes()),
    ] {
        let mut get = Request::new(());
        let length = HeaderValue::from_static("12");
        get.headers_mut().insert("content-length", length);
        for [first, second] in [
            allocations(&layer, &Plain::new("op"), (), Status::Http(200)),
            allocations(&layer, &http, get, Status::Http(200)),
            allocations(&layer, &http, grpc.clone(), Status::Grpc(0)),
        ] {
            assert!(first > 0, "the counter counts");
            assert_eq!(second, 0);
        }
    }
}
