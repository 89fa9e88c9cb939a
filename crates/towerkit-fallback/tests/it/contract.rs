//! The laws that every layer keeps, for this one.
//!
//! A fallback that answers would hide the errors that T-08 looks for, so that the functions here give the failure back, and the
//! other service does as the first.

use http::Response;
use towerkit_core::{CallEnd, LayerExt};
use towerkit_endpoint::RpcExt;
use towerkit_fallback::{ByFunction, FallbackLayer};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe, ProbeBody, ProbeError, Subject, contract};

type Answer<T> = Result<T, ProbeError>;
type GiveBack<T> = fn(Answer<T>, &CallEnd) -> Answer<T>;
type HttpAnswer = Response<ProbeBody>;

fn function<T>() -> FallbackLayer<ByFunction<GiveBack<T>>> {
    FallbackLayer::function::<T, ProbeError>(|failed, _end| failed)
}

contract!(
    function_plain,
    PlainClient,
    Subject::new(function::<Action>().plain("probe"))
);
contract!(
    function_rpc,
    RpcClient,
    Subject::new(function::<Action>().rpc())
);
contract!(
    function_http,
    HttpClient,
    Subject::new(function::<HttpAnswer>().http())
);
contract!(
    function_grpc,
    GrpcClient,
    Subject::new(function::<HttpAnswer>().grpc())
);
contract!(
    service_plain,
    PlainClient,
    Subject::new(FallbackLayer::service(Probe::new()).plain("probe"))
);

contract!(
    service_rpc,
    RpcClient,
    Subject::new(FallbackLayer::service(Probe::new()).rpc())
);
contract!(
    service_http,
    HttpClient,
    Subject::new(FallbackLayer::service(Probe::new()).http())
);
contract!(
    service_grpc,
    GrpcClient,
    Subject::new(FallbackLayer::service(Probe::new()).grpc())
);
