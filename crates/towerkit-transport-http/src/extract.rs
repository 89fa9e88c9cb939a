use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::{Pin, pin},
    task,
};

use axum::{extract::FromRequestParts, response::IntoResponse};
use http::{Request, Response, request};
use http_body::Body;
use tower_service::Service;
use towerkit_core::{BoxError, ErrorCode};
use towerkit_endpoint::{IntoRpcError, RpcError, catch_panic, serve_call};

use crate::{
    DecodeRequest, EncodeResponse, HttpHandler, ResponseBody,
    handler::{body_error, endpoint_request, for_method},
    read_body::ReadBody,
};

impl<S, C, T> HttpHandler<S, C, T> {
    /// Makes the message of a part of the head, which an extractor of axum reads, and of the decoded body.
    ///
    /// The rejection of the extractor is an error like any other: [`errors`](HttpHandler::errors) encodes it. A rejection whose status
    /// is not an error, such as a redirect to a login page, is the response. A request without a body has the body `()`, which
    /// [`Json`](crate::Json) decodes from nothing.
    ///
    /// ```
    /// use axum::{Router, extract::Path, routing::get_service};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use towerkit_endpoint::{RpcError, endpoint_fn};
    /// use towerkit_transport_http::{Json, serve};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let greet = endpoint_fn((), |(), name: String| async move { Ok::<_, RpcError>(format!("hello, {name}")) });
    /// let greet = serve("greet", Json, greet).extract(|Path(name): Path<String>, ()| name);
    /// let app = Router::new().route("/hello/{name}", get_service(greet));
    ///
    /// let response = app.oneshot(Request::get("/hello/Ann").body(String::new())?).await?;
    /// assert_eq!(response.status(), 200);
    /// # Ok::<_, towerkit_core::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn extract<P, M, F>(self, map: F) -> ExtractHandler<S, C, T, P, M, F>
    where
        F: Fn(P, M) -> T,
    {
        ExtractHandler {
            handler: self,
            map,
            types: PhantomData,
        }
    }
}

/// An endpoint behind an extractor of axum; made by [`HttpHandler::extract`].
pub struct ExtractHandler<S, C, T, P, M, F> {
    handler: HttpHandler<S, C, T>,
    map: F,
    types: PhantomData<fn(P, M)>,
}

impl<S: Clone, C: Clone, T, P, M, F: Clone> Clone for ExtractHandler<S, C, T, P, M, F> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            map: self.map.clone(),
            types: PhantomData,
        }
    }
}

impl<S, C, T, P, M, F> fmt::Debug for ExtractHandler<S, C, T, P, M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handler.fmt(f)
    }
}

impl<S, C, T, P, M, F, B> Service<Request<B>> for ExtractHandler<S, C, T, P, M, F>
where
    S: Service<towerkit_endpoint::Request<T>, Error: IntoRpcError> + Clone + Send + 'static,
    S::Future: Send,
    C: DecodeRequest<M> + EncodeResponse<S::Response> + Clone + Send + 'static,
    T: Send + 'static,
    P: FromRequestParts<()> + Send + 'static,
    M: Send + 'static,
    F: Fn(P, M) -> T + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    /// Boxed, because the futures of extractors have no names.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let me = self.clone();
        Box::pin(async move {
            let method = request.method().clone();
            let options = me.handler.options.clone();
            let result = match options.check(&request) {
                Ok(()) => me.serve(request).await.map_err(Into::into),
                Err(failed) => Err(failed),
            };
            let response = result.unwrap_or_else(|failed| options.encode_failed(failed));
            Ok(for_method(&method, response))
        })
    }
}

impl<S, C, T, P, M, F> ExtractHandler<S, C, T, P, M, F>
where
    S: Service<towerkit_endpoint::Request<T>, Error: IntoRpcError>,
    C: DecodeRequest<M> + EncodeResponse<S::Response>,
    P: FromRequestParts<()>,
    F: Fn(P, M) -> T,
{
    async fn serve<B>(self, request: Request<B>) -> Result<Response<ResponseBody>, RpcError>
    where
        B: Body<Error: Into<BoxError>>,
    {
        let HttpHandler {
            operation,
            codec,
            endpoint,
            options,
            ..
        } = self.handler;
        let (mut head, body) = request.into_parts();
        let part = match extract(&mut head).await? {
            Ok(part) => part,
            Err(response) => return read_rejection(response).await,
        };
        let body = ReadBody::new(body, options.body_limit).await;
        let body = body.map_err(|error| body_error(error, options.body_limit))?;
        let message = catch_panic(|| {
            let body = codec.decode_request(&head, body)?;
            Ok((self.map)(part, body))
        })?;
        let request = endpoint_request(operation, message, head);
        let response = serve_call(endpoint, request).await?;
        catch_panic(|| codec.encode_response(response))
    }
}

/// Runs an extractor. A panic becomes an internal error.
async fn extract<P: FromRequestParts<()>>(
    head: &mut request::Parts,
) -> Result<Result<P, axum::response::Response>, RpcError> {
    let mut extracting = pin!(async {
        let part = P::from_request_parts(head, &()).await;
        part.map_err(IntoResponse::into_response)
    });
    poll_fn(
        |cx| match catch_panic(|| Ok(extracting.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => task::Poll::Ready(Err(panic)),
        },
    )
    .await
}

/// Converts the rejection of an extractor, whose body is a sentence for the caller.
async fn read_rejection(
    response: axum::response::Response,
) -> Result<Response<ResponseBody>, RpcError> {
    const LIMIT: usize = 4096;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response.map(ResponseBody::new));
    }
    let wait = towerkit_http::retry_after(response.headers());
    let message = match status.is_server_error() {
        true => "internal error".to_owned(),
        false => {
            let text = ReadBody::new(response.into_body(), LIMIT).await;
            let text = text.unwrap_or_default();
            match std::str::from_utf8(&text) {
                Ok(text) if !text.is_empty() => text.to_owned(),
                _ => status.canonical_reason().unwrap_or("rejected").to_owned(),
            }
        }
    };
    let code = ErrorCode::from_http_status(status.as_u16());
    let error = RpcError::new(code, message).with_http_status(status.as_u16());
    Err(match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    })
}
