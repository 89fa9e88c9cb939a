//! What a call allocates: nothing, once its series is known.

use allocation_counter::measure;
use http::{HeaderValue, Request};
use towerkit_core::{Call, Describe, End, IntoRole, Outcome, Plain, Role, Status};
use towerkit_http::Http;
use towerkit_metrics::{MetricsLayer, Registry};

fn allocations<Req>(protocol: &dyn Describe<Req>, mut request: Req, status: Status) -> [u64; 2] {
    let role = MetricsLayer::new().registry(Registry::new()).into_role();
    let end = End::new(Outcome::Success).with_status(Some(status));
    let mut once = || {
        let mut call = Call::new(&mut request, protocol);
        let held = Role::begin(&role, &mut call);
        towerkit_core::Policy::finish(&role, held.unwrap(), &end);
    };
    [measure(&mut once), measure(&mut once)].map(|info| info.count_total)
}

#[test]
fn a_call_of_a_known_series_allocates_nothing() {
    let http = Http::new().operation(|head| head.uri.path());
    let mut grpc = Request::post("/shop.Orders/Place").body(()).unwrap();
    let content_type = HeaderValue::from_static("application/grpc");
    grpc.headers_mut().insert("content-type", content_type);
    for [first, second] in [
        allocations(&Plain::new("op"), (), Status::Http(200)),
        allocations(&http, Request::new(()), Status::Http(200)),
        allocations(&http, grpc, Status::Grpc(0)),
    ] {
        assert!(first > 0, "the counter counts");
        assert_eq!(second, 0);
    }
}
