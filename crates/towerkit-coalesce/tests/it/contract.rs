//! The laws that every layer keeps, for this one: for calls that lead, and for calls that pass by.

use ::http::Request;
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::{KeyBy, LayerExt};
use towerkit_http::HttpExt;
use towerkit_test::{Act, Subject, contract, laws::nonsense_is_rejected};

/// Acts that differ have keys that differ, so that every call of a law reaches the probe.
fn layer<Req: std::fmt::Debug>()
-> CoalesceLayer<KeyBy<impl Fn(&Req) -> Option<String> + Clone, String>> {
    CoalesceLayer::new(|request: &Req| Some(format!("{request:?}")))
}

macro_rules! keyed {
    ($request:ty, |$layer:ident| $read:expr) => {{
        let $layer = layer::<$request>();
        let handle = $layer.handle();
        let in_flight = move || i64::try_from(handle.snapshot().in_flight).unwrap();
        Subject::new($read).held(in_flight)
    }};
}

contract!(plain, PlainCalls, keyed!(Act, |layer| layer.plain("probe")));
contract!(http, HttpCalls, keyed!(Request<Act>, |layer| layer.http()));
contract!(grpc, GrpcCalls, keyed!(Request<Act>, |layer| layer.grpc()));
contract!(
    passing_by,
    PlainCalls,
    Subject::new(CoalesceLayer::new(|_: &Act| None::<u8>).plain("probe"))
);
contract!(
    passing_by_over_http,
    HttpCalls,
    Subject::new(CoalesceLayer::new(|_: &Request<Act>| None::<u8>).http())
);

/// T-07
#[test]
fn nonsense_in_the_configuration_is_rejected() {
    nonsense_is_rejected(&[
        ("0 waits", &|| layer::<Act>().waits(0).is_err()),
        ("101 waits", &|| layer::<Act>().waits(101).is_err()),
        ("MAX waits", &|| layer::<Act>().waits(usize::MAX).is_err()),
        ("a body of 0", &|| layer::<Act>().max_body(0).is_err()),
        ("a body of MAX", &|| {
            layer::<Act>().max_body(usize::MAX).is_err()
        }),
    ]);
    let error = layer::<Act>().waits(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a number of waits of 0 is not between 1 and 100"
    );
}
