use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use reqwest::Client;
use tower_service::Service;
use towerkit_core::BoxError;

/// A [`reqwest::Client`] as a service of [`http::Request`].
///
/// reqwest implements [`Service`] for its own request type, which layers for HTTP do not read. This adapter takes a request with any
/// body and returns an [`http::Response`]:
///
/// ```
/// use http::Request;
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_core::{Call, Rejection, guard};
/// use towerkit_http::{HttpExt, Reqwest};
/// # use towerkit_core::{CallEnd, Guard, Policy, RejectionReason};
/// # struct Closed;
/// # impl Policy for Closed {
/// #     type CallState = ();
/// #     fn finish(&self, _state: (), _end: &CallEnd) {}
/// # }
/// # impl<Req> Guard<Req> for Closed {
/// #     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
/// #         Err(Rejection::new(RejectionReason::Overloaded, "test"))
/// #     }
/// # }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let client = ServiceBuilder::new()
///     .layer(guard(Closed).http_client())
///     .service(Reqwest(reqwest::Client::new()));
///
/// let request = Request::get("http://localhost/").body(reqwest::Body::default())?;
/// assert_eq!(client.oneshot(request).await?.status(), 503);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// reqwest follows redirects inside of the service, and with a body only if that is a [`reqwest::Body`] made of bytes. Its features,
/// such as those for TLS, are chosen by your own dependency on reqwest.
///
/// # Errors
///
/// A call fails with an [error of reqwest](reqwest::Error), also for a URI without a scheme or a host. Layers read these errors as
/// those of a client: use [`http_client`](crate::HttpExt::http_client).
#[derive(Debug, Clone)]
pub struct Reqwest(pub Client);

impl<B> Service<Request<B>> for Reqwest
where
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        Service::<reqwest::Request>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<B>) -> ReqwestFuture {
        ReqwestFuture(match request.map(body).try_into() {
            Ok(request) => State::Sent(Service::<reqwest::Request>::call(&mut self.0, request)),
            Err(error) => State::Invalid(Some(error)),
        })
    }
}

/// Makes a body of reqwest, which remains one that can be sent again after a redirect where possible.
fn body<B>(body: B) -> reqwest::Body
where
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return reqwest::Body::default();
    }
    let mut body = Some(body);
    let any: &mut dyn Any = &mut body;
    let own = any.downcast_mut().and_then(Option::take);
    own.unwrap_or_else(|| {
        let body = body.take().expect("it is no body of reqwest");
        reqwest::Body::wrap(SyncBody(Mutex::new(body)))
    })
}

/// A body that is `Sync`, as reqwest requires.
struct SyncBody<B>(Mutex<B>);

impl<B> SyncBody<B> {
    /// Never waits: a body is polled by one task.
    fn lock(&self) -> MutexGuard<'_, B> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body + Unpin> Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let body = self.get_mut().0.get_mut();
        Pin::new(body.unwrap_or_else(PoisonError::into_inner)).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

impl<B> Unpin for SyncBody<B> {}

/// The future of [`Reqwest`].
#[pin_project]
pub struct ReqwestFuture(#[pin] State);

#[pin_project(project = StateProjection)]
enum State {
    Sent(#[pin] <Client as Service<reqwest::Request>>::Future),
    /// reqwest did not accept the request.
    Invalid(Option<reqwest::Error>),
}

impl Future for ReqwestFuture {
    type Output = Result<Response<reqwest::Body>, reqwest::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            StateProjection::Sent(future) => future.poll(cx).map_ok(Response::from),
            StateProjection::Invalid(error) => {
                Poll::Ready(Err(error.take().expect("not polled after completion")))
            }
        }
    }
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}
