//! What a call allocates that is not recorded: nothing, in the long run.

use allocation_counter::measure;
use http::{HeaderValue, Request};
use towerkit_core::{Call, End, IntoRole, Outcome, Policy, Role, Status};
use towerkit_http::Http;
use towerkit_trace::{Sampler, TraceLayer};

fn allocations(layer: TraceLayer, parent: Option<&'static str>) -> u64 {
    let role = layer.into_role();
    let http = Http::new();
    let mut request = Request::new(());
    if let Some(parent) = parent {
        let parent = HeaderValue::from_static(parent);
        request.headers_mut().insert("traceparent", parent);
    }
    let end = End::new(Outcome::Success).with_status(Some(Status::Http(200)));
    let mut run = || {
        let mut call = Call::new(&mut request, &http);
        let mut held = Role::begin(&role, &mut call).unwrap();
        Policy::enter(&role, &mut held, || ());
        Policy::finish(&role, held, &end);
    };
    run();
    measure(run).count_total
}

#[test]
fn a_call_that_is_not_recorded_allocates_nothing() {
    const NOT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let never = || TraceLayer::server().sampler(Sampler::never());
    assert_eq!(allocations(never(), None), 0);
    assert_eq!(allocations(TraceLayer::server(), Some(NOT)), 0);
    assert_eq!(allocations(never().untrusted(), Some(RECORDED)), 0);
    let counted = measure(|| drop(std::hint::black_box(vec![1_u8])));
    assert_eq!(counted.count_total, 1, "the counter counts");
}
