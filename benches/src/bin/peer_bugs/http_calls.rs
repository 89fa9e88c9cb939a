use std::{
    collections::VecDeque,
    convert::Infallible,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::runtime::Handle;
use tower::{Service, ServiceExt};

/// A response body that ends as it is told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Frames {
    chunks: VecDeque<&'static [u8]>,
    breaks: bool,
    trailers: Option<HeaderMap>,
    /// How long it takes before its end.
    delay: Duration,
}

/// The body broke off.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off")
    }
}

impl Error for Broken {}

impl Frames {
    pub(crate) fn of(chunks: impl IntoIterator<Item = &'static [u8]>) -> Self {
        Self {
            chunks: chunks.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn then_break(mut self) -> Self {
        self.breaks = true;
        self
    }

    pub(crate) fn then_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    pub(crate) fn slowly(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match self.chunks.pop_front() {
            Some(chunk) => Some(Ok(Frame::data(Bytes::from_static(chunk)))),
            None => {
                std::thread::sleep(self.delay);
                let trailers = self.trailers.take().map(Frame::trailers);
                let broken = std::mem::take(&mut self.breaks).then_some(Err(Broken));
                trailers.map(Ok).or(broken)
            }
        })
    }
}

/// A service that answers 200 and `body`.
pub(crate) fn answering(
    body: Frames,
) -> impl Service<Req, Response = Response<Frames>, Error = Infallible, Future: Send> + Clone {
    tower::service_fn(move |_: Req| {
        let body = body.clone();
        async move { Ok(Response::new(body)) }
    })
}

/// A service that answers as a gRPC server does.
pub(crate) fn answering_grpc(
    body: Frames,
) -> impl Service<Req, Response = Response<Frames>, Error = Infallible, Future: Send> + Clone {
    tower::service_fn(move |_: Req| {
        let mut response = Response::new(body.clone());
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(CONTENT_TYPE, grpc);
        async move { Ok(response) }
    })
}

/// A service that never answers.
pub(crate) fn silent()
-> impl Service<Req, Response = Response<Frames>, Error = Infallible, Future: Send> + Clone {
    tower::service_fn(|_: Req| std::future::pending())
}

pub(crate) type Req = Request<Full<Bytes>>;

/// Makes a request of a path.
pub(crate) fn get(path: &str) -> Req {
    let mut request = Req::default();
    *request.uri_mut() = path.parse().expect("a path");
    request
}

/// Makes a call and reads its body to the end.
pub(crate) fn call<S, B>(service: S, request: Req)
where
    S: Service<Req, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    Handle::current().block_on(async {
        if let Ok(response) = service.oneshot(request).await {
            let _ = response.into_body().collect().await;
        }
    });
}

/// Starts a call and drops it.
pub(crate) fn cancel<S: Service<Req>>(service: S, request: Req) {
    let mut call = Box::pin(service.oneshot(request));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
}
