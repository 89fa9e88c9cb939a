use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::Empty;
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

/// A request without a body, with the [`Act`] of the probe in its extensions.
pub type HttpRequest = Request<Empty<Bytes>>;

/// Calls a service over HTTP.
#[derive(Debug)]
pub enum HttpCalls {}

impl<S, B> Calls<S> for HttpCalls
where
    S: Service<HttpRequest, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: Into<BoxError>>,
{
    type Request = HttpRequest;

    fn request(act: Act) -> HttpRequest {
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
    S: Service<HttpRequest, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: Into<BoxError>>,
{
    type Request = HttpRequest;

    fn request(act: Act) -> HttpRequest {
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

fn request(act: Act) -> HttpRequest {
    let mut request = Request::new(Empty::new());
    request.extensions_mut().insert(act);
    request
}
