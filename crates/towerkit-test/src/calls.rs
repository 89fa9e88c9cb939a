use std::{future::poll_fn, pin::pin};

use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use tower_service::Service;

use crate::{Act, ProbeError};

/// How the laws call a service: what a request looks like, and when a response is over.
pub trait Calls<S: Service<Self::Request, Error = ProbeError>> {
    /// The request.
    type Request;

    /// Makes a request that tells the probe what to do.
    fn request(act: Act) -> Self::Request;

    /// Reads a response to its end.
    fn read(response: S::Response) -> impl Future<Output = ()>;
}

/// Calls a service without a wire protocol.
#[derive(Debug)]
pub enum PlainCalls {}

impl<S: Service<Act, Error = ProbeError>> Calls<S> for PlainCalls {
    type Request = Act;

    fn request(act: Act) -> Act {
        act
    }

    async fn read(_response: S::Response) {}
}

/// Calls a service over HTTP.
#[derive(Debug)]
pub enum HttpCalls {}

impl<S, B> Calls<S> for HttpCalls
where
    S: Service<Request<Act>, Response = Response<B>, Error = ProbeError>,
    B: Body,
{
    type Request = Request<Act>;

    fn request(act: Act) -> Request<Act> {
        request(act)
    }

    async fn read(response: Response<B>) {
        read_body(response.into_body()).await;
    }
}

/// Calls a service over gRPC.
#[derive(Debug)]
pub enum GrpcCalls {}

impl<S, B> Calls<S> for GrpcCalls
where
    S: Service<Request<Act>, Response = Response<B>, Error = ProbeError>,
    B: Body,
{
    type Request = Request<Act>;

    fn request(act: Act) -> Request<Act> {
        let mut request = request(act);
        *request.method_mut() = http::Method::POST;
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(header::CONTENT_TYPE, grpc);
        request
    }

    async fn read(response: Response<B>) {
        read_body(response.into_body()).await;
    }
}

/// A request that says in its extensions what the probe is to do, because a layer may wrap its body.
fn request(act: Act) -> Request<Act> {
    let mut request = Request::new(act);
    request.extensions_mut().insert(act);
    request
}

async fn read_body<B: Body>(body: B) {
    let mut body = pin!(body);
    while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
}
