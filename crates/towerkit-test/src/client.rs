use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::Empty;
use tower_service::Service;
use towerkit_core::BoxError;
use towerkit_endpoint::Request as EndpointRequest;

use crate::{Action, BodyContent, ProbeError};

/// A client for the [laws](crate::laws): makes requests and reads responses.
pub trait TestClient<S: Service<Self::Request, Error = ProbeError>> {
    /// The type of the requests.
    type Request;

    /// Makes a request for an action of the probe.
    fn request(act: Action) -> Self::Request;

    /// Reads a response to its end, or up to `frames` frames of its body, and returns the content.
    fn read(response: S::Response, frames: usize) -> impl Future<Output = BodyContent>;

    /// Returns the content of the response to an action; `None` if responses have no body.
    fn expected(act: Action) -> Option<BodyContent>;
}

/// The client of a service without a wire protocol.
#[derive(Debug)]
pub enum PlainClient {}

impl<S: Service<Action, Error = ProbeError>> TestClient<S> for PlainClient {
    type Request = Action;

    fn request(act: Action) -> Action {
        act
    }

    async fn read(_response: S::Response, _frames: usize) -> BodyContent {
        BodyContent::default()
    }

    fn expected(_act: Action) -> Option<BodyContent> {
        None
    }
}

/// The client of an endpoint.
#[derive(Debug)]
pub enum RpcClient {}

impl<S: Service<EndpointRequest<Action>, Error = ProbeError>> TestClient<S> for RpcClient {
    type Request = EndpointRequest<Action>;

    fn request(act: Action) -> EndpointRequest<Action> {
        EndpointRequest::new("probe", act)
    }

    async fn read(_response: S::Response, _frames: usize) -> BodyContent {
        BodyContent::default()
    }

    fn expected(_act: Action) -> Option<BodyContent> {
        None
    }
}

/// A request without a body, with the [`Action`] of the probe in its extensions.
pub type HttpRequest = Request<Empty<Bytes>>;

/// The client of an HTTP service.
#[derive(Debug)]
pub enum HttpClient {}

impl<S, B> TestClient<S> for HttpClient
where
    S: Service<HttpRequest, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: Into<BoxError>>,
{
    type Request = HttpRequest;

    fn request(act: Action) -> HttpRequest {
        request(act)
    }

    async fn read(response: Response<B>, frames: usize) -> BodyContent {
        BodyContent::read(pin!(response.into_body()), frames).await
    }

    fn expected(act: Action) -> Option<BodyContent> {
        Some(BodyContent::expected(act, false))
    }
}

/// The client of a gRPC service.
#[derive(Debug)]
pub enum GrpcClient {}

impl<S, B> TestClient<S> for GrpcClient
where
    S: Service<HttpRequest, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: Into<BoxError>>,
{
    type Request = HttpRequest;

    fn request(act: Action) -> HttpRequest {
        let mut request = request(act);
        *request.method_mut() = Method::POST;
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(header::CONTENT_TYPE, grpc);
        request
    }

    async fn read(response: Response<B>, frames: usize) -> BodyContent {
        BodyContent::read(pin!(response.into_body()), frames).await
    }

    fn expected(act: Action) -> Option<BodyContent> {
        Some(BodyContent::expected(act, true))
    }
}

fn request(act: Action) -> HttpRequest {
    let mut request = Request::new(Empty::new());
    request.extensions_mut().insert(act);
    request
}
