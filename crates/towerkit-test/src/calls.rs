use std::pin::pin;

use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body;
use tower_service::Service;
use towerkit_core::BoxError;

use crate::{Act, Content, ProbeError};

/// How the laws call a service: what a request looks like, and when a response is over.
pub trait Calls<S: Service<Self::Request, Error = ProbeError>> {
    /// The request.
    type Request;

    /// Makes a request that tells the probe what to do.
    fn request(act: Act) -> Self::Request;

    /// Reads a response to its end, or so many frames of its body, and returns what was read.
    fn read(response: S::Response, frames: usize) -> impl Future<Output = Content>;

    /// Returns what the response of the probe has to say, or `None` where responses have no body.
    fn expected(act: Act) -> Option<Content>;
}

/// Calls a service without a wire protocol.
#[derive(Debug)]
pub enum PlainCalls {}

impl<S: Service<Act, Error = ProbeError>> Calls<S> for PlainCalls {
    type Request = Act;

    fn request(act: Act) -> Act {
        act
    }

    async fn read(_response: S::Response, _frames: usize) -> Content {
        Content::default()
    }

    fn expected(_act: Act) -> Option<Content> {
        None
    }
}

/// Calls a service over HTTP.
#[derive(Debug)]
pub enum HttpCalls {}

impl<S, B> Calls<S> for HttpCalls
where
    S: Service<Request<Act>, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: Into<BoxError>>,
{
    type Request = Request<Act>;

    fn request(act: Act) -> Request<Act> {
        request(act)
    }

    async fn read(response: Response<B>, frames: usize) -> Content {
        Content::read(pin!(response.into_body()), frames).await
    }

    fn expected(act: Act) -> Option<Content> {
        Some(Content::expected(act, false))
    }
}

/// Calls a service over gRPC.
#[derive(Debug)]
pub enum GrpcCalls {}

impl<S, B> Calls<S> for GrpcCalls
where
    S: Service<Request<Act>, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: Into<BoxError>>,
{
    type Request = Request<Act>;

    fn request(act: Act) -> Request<Act> {
        let mut request = request(act);
        *request.method_mut() = Method::POST;
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(header::CONTENT_TYPE, grpc);
        request
    }

    async fn read(response: Response<B>, frames: usize) -> Content {
        Content::read(pin!(response.into_body()), frames).await
    }

    fn expected(act: Act) -> Option<Content> {
        Some(Content::expected(act, true))
    }
}

/// A request that says in its extensions what the probe is to do, because a layer may wrap its body.
fn request(act: Act) -> Request<Act> {
    let mut request = Request::new(act);
    request.extensions_mut().insert(act);
    request
}
