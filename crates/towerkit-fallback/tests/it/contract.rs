//! The laws that every layer keeps, for this one.
//!
//! A fallback that answers would hide the errors that T-08 looks for, so that the functions here give the failure back, and the
//! other service does as the first.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{ServiceBuilder, util::MapRequest};
use towerkit_core::{CallEnd, LayerExt};
use towerkit_fallback::{FallbackLayer, Function};
use towerkit_http::HttpExt;
use towerkit_test::{Act, Probe, ProbeBody, ProbeError, Subject, contract};

type Answer<T> = Result<T, ProbeError>;
type GiveBack<T> = fn(Answer<T>, &CallEnd) -> Answer<T>;
type HttpAnswer = Response<ProbeBody>;
type ToAct<B> = fn(Request<B>) -> Request<Act>;

fn function<T>() -> FallbackLayer<Function<GiveBack<T>>> {
    FallbackLayer::function::<T, ProbeError>(|failed, _end| failed)
}

fn to_body(request: Request<Act>) -> Request<Empty<Bytes>> {
    let (mut head, act) = request.into_parts();
    head.extensions.insert(act);
    Request::from_parts(head, Empty::new())
}

fn to_act<B>(request: Request<B>) -> Request<Act> {
    let (head, _) = request.into_parts();
    let act = *head.extensions.get().expect("put there on the way in");
    Request::from_parts(head, act)
}

contract!(
    function_plain,
    PlainCalls,
    Subject::new(function::<Act>().plain("probe"))
);
contract!(
    function_http,
    HttpCalls,
    Subject::new(function::<HttpAnswer>().http())
);
contract!(
    function_grpc,
    GrpcCalls,
    Subject::new(function::<HttpAnswer>().grpc())
);
contract!(
    service_plain,
    PlainCalls,
    Subject::new(FallbackLayer::service(Probe::new()).plain("probe"))
);

/// A layer that needs requests with a body: what the probe is to do travels in the extensions.
macro_rules! with_bodies {
    ($layer:expr) => {
        Subject::new(
            ServiceBuilder::new()
                .map_request(to_body)
                .layer($layer)
                .map_request(to_act),
        )
    };
}

/// Another probe, which is called as the first.
fn other<B>() -> MapRequest<Probe, ToAct<B>> {
    MapRequest::new(Probe::new(), to_act)
}

contract!(
    service_http,
    HttpCalls,
    with_bodies!(FallbackLayer::service(other()).http())
);
contract!(
    service_grpc,
    GrpcCalls,
    with_bodies!(FallbackLayer::service(other()).grpc())
);
