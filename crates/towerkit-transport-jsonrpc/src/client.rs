use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, Uri, header, request, response,
};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tower_layer::Layer;
use tower_service::Service;
use towerkit_core::{BoxError, ErrorCode, ProtocolKind};
use towerkit_endpoint::RpcError;
use towerkit_transport_http::{Exchange, client_head, transport_error};

use crate::{
    message::may_be_params,
    reply::{decode_batch, decode_one},
};

/// Makes an endpoint of a method that an upstream serves over JSON-RPC.
///
/// `http` sends the requests: `towerkit_http::client`, the client of hyper-util, a [`JsonRpc`](crate::JsonRpc) server in a test, or any
/// of them inside of layers with `.http_client()`. A message is encoded as the parameters, so it must be an object or an array in JSON:
/// a struct, a map, a tuple or a list. Parameters that are `null` are left out.
///
/// ```
/// use http::Uri;
/// use towerkit_endpoint::{EndpointExt, RpcError, endpoint_fn};
/// use towerkit_transport_jsonrpc::{JsonRpc, client};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let double = endpoint_fn((), |(), (n,): (u32,)| async move { Ok::<_, RpcError>(2 * n) });
/// let server = JsonRpc::new().method("double", double);
///
/// let double = client(server, Uri::from_static("http://double.example/rpc"), "double");
/// let doubled: u32 = double.invoke((4,)).await?;
/// assert_eq!(doubled, 8);
/// # Ok::<_, towerkit_core::BoxError>(()) }).unwrap();
/// ```
pub fn client<H, T, U>(http: H, uri: Uri, method: &'static str) -> JsonRpcClient<H, T, U>
where
    H: Service<Request<Full<Bytes>>>,
{
    JsonRpcClient {
        sender: Sender {
            http,
            uri,
            method,
            response_limit: DEFAULT_RESPONSE_LIMIT,
            next_id: Arc::new(AtomicU64::new(1)),
        },
        types: PhantomData,
    }
}

const DEFAULT_RESPONSE_LIMIT: usize = 4 * 1024 * 1024;

/// A method of an upstream as an endpoint; made by [`client`].
///
/// A message of type `T` is sent as the parameters, and the result decoded to a `U`. An error is an [`RpcError`] with its code, its
/// message and the time after which a retry may succeed. Its code is that of `data.code`, or that of the number if the specification has
/// the number, or that of the HTTP status; otherwise [`Unknown`](ErrorCode::Unknown). Its source is the
/// [`ErrorObject`](crate::ErrorObject). A failed connection is [`Unavailable`](ErrorCode::Unavailable), as over HTTP.
///
/// A response with the id of another call, without an id, or with both a result and an error, is an [`Internal`](ErrorCode::Internal)
/// error. Clones count ids together.
///
/// Headers and extensions of the endpoint's request are sent with it, except for headers that belong to one connection. Dropping the
/// future ends the request.
pub struct JsonRpcClient<H, T, U> {
    sender: Sender<H>,
    types: PhantomData<fn(T) -> U>,
}

/// A client inside of layers that see calls of JSON-RPC; made by [`JsonRpcClient::layer`].
#[derive(Debug, Clone)]
pub struct LayeredJsonRpcClient<S> {
    inner: S,
    method: &'static str,
}

/// A method of an upstream as an endpoint of several calls in one HTTP request; made by [`JsonRpcClient::batch`].
///
/// The results are in the order of the messages, each with its own error. The error of the endpoint is one of all calls: the connection
/// failed, or the upstream rejected the batch. No request is sent for an empty list.
pub struct JsonRpcBatchClient<H, T, U> {
    sender: Sender<H>,
    types: PhantomData<fn(T) -> U>,
}

impl<H, T, U> JsonRpcClient<H, T, U> {
    /// Limits the body of a response to this number of bytes; 4 MiB by default.
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.sender.response_limit = bytes;
        self
    }

    /// Adds layers with `.rpc()` around the calls, as [`JsonRpc::layer`](crate::JsonRpc::layer) does on a server.
    ///
    /// The layers see calls of the protocol [`JsonRpc`](ProtocolKind::JsonRpc) with the method as their operation, so that metrics, traces
    /// and logs name them by OpenTelemetry's semantic conventions for remote procedure calls. To layers that a `ServiceBuilder` puts
    /// around a client, a call is plain, and has the operation of its request.
    pub fn layer<L: Layer<Self>>(self, layer: L) -> LayeredJsonRpcClient<L::Service> {
        LayeredJsonRpcClient {
            method: self.sender.method,
            inner: layer.layer(self),
        }
    }

    /// Calls the method several times in one HTTP request.
    ///
    /// ```
    /// use http::Uri;
    /// use towerkit_endpoint::{EndpointExt, RpcError, endpoint_fn};
    /// use towerkit_transport_jsonrpc::{JsonRpc, client};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let double = endpoint_fn((), |(), (n,): (u32,)| async move { Ok::<_, RpcError>(2 * n) });
    /// let server = JsonRpc::new().method("double", double);
    ///
    /// let double = client(server, Uri::from_static("http://double.example/rpc"), "double").batch();
    /// let doubled: Vec<Result<u32, RpcError>> = double.invoke(vec![(4,), (5,)]).await?;
    /// let doubled: Vec<u32> = doubled.into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(doubled, [8, 10]);
    /// # Ok::<_, RpcError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn batch(self) -> JsonRpcBatchClient<H, T, U> {
        JsonRpcBatchClient {
            sender: self.sender,
            types: PhantomData,
        }
    }
}

/// The part of a client that is the same for one call and for several.
#[derive(Clone)]
struct Sender<H> {
    http: H,
    uri: Uri,
    method: &'static str,
    response_limit: usize,
    // 0 is left out: to some servers it is no id.
    next_id: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Call {
    jsonrpc: &'static str,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Box<RawValue>>,
    id: u64,
}

impl<H> Sender<H> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>>
    where
        H: Service<Request<Full<Bytes>>, Error: Into<BoxError>>,
    {
        let ready = self.http.poll_ready(cx);
        ready.map_err(|error| transport_error(error.into()))
    }

    /// Takes this number of ids, and returns the first.
    fn take_ids(&self, calls: usize) -> u64 {
        // Ids differ, whatever the order of their memory accesses.
        self.next_id.fetch_add(calls as u64, Ordering::Relaxed)
    }

    fn encode_call(&self, id: u64, message: &impl Serialize) -> Result<Call, RpcError> {
        let params = to_raw_value(message);
        let params = params.map_err(|error| RpcError::internal().with_source(error))?;
        if !may_be_params(&params) {
            let message = "the parameters of JSON-RPC are an array or an object";
            return Err(RpcError::new(ErrorCode::InvalidArgument, message));
        }
        Ok(Call {
            jsonrpc: "2.0",
            method: self.method,
            params: (params.get() != "null").then_some(params),
            id,
        })
    }

    /// Makes a request, of one call or of a list of calls.
    fn encode(
        &self,
        calls: &impl Serialize,
        headers: HeaderMap,
        extensions: Extensions,
    ) -> Result<Request<Full<Bytes>>, RpcError> {
        let body = serde_json::to_vec(calls);
        let body = body.map_err(|error| RpcError::internal().with_source(error))?;
        let mut head = client_head(Method::POST, self.uri.clone(), headers, extensions);
        set_content_type(&mut head);
        Ok(Request::from_parts(head, Full::from(body)))
    }

    fn send<R, B>(
        &mut self,
        request: Request<Full<Bytes>>,
        expected: Expected<R>,
    ) -> JsonRpcClientFuture<H::Future, R, B>
    where
        H: Service<Request<Full<Bytes>>>,
        B: Body,
    {
        let exchange = Exchange::new(self.http.call(request), self.response_limit);
        JsonRpcClientFuture {
            state: State::Exchanging { exchange, expected },
        }
    }
}

fn set_content_type(head: &mut request::Parts) {
    let json = HeaderValue::from_static("application/json");
    head.headers.insert(header::CONTENT_TYPE, json.clone());
    head.headers.insert(header::ACCEPT, json);
}

impl<H, T, U, B> Service<towerkit_endpoint::Request<T>> for JsonRpcClient<H, T, U>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    T: Serialize,
    U: DeserializeOwned,
    B: Body<Error: Into<BoxError>>,
{
    type Response = U;
    type Error = RpcError;
    type Future = JsonRpcClientFuture<H::Future, U, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: towerkit_endpoint::Request<T>) -> Self::Future {
        let sender = &mut self.sender;
        let first_id = sender.take_ids(1);
        let call = sender.encode_call(first_id, &request.message);
        let encoded =
            call.and_then(|call| sender.encode(&call, request.headers, request.extensions));
        let expected = Expected {
            first_id,
            calls: 1,
            decode: |expected, head, body| decode_one(expected.first_id, head, body),
        };
        match encoded {
            Ok(request) => sender.send(request, expected),
            Err(error) => JsonRpcClientFuture::ready(Err(error)),
        }
    }
}

impl<S, T> Service<towerkit_endpoint::Request<T>> for LayeredJsonRpcClient<S>
where
    S: Service<towerkit_endpoint::Request<T>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: towerkit_endpoint::Request<T>) -> S::Future {
        request.operation = self.method;
        request.protocol = ProtocolKind::JsonRpc;
        self.inner.call(request)
    }
}

impl<H, T, U, B> Service<towerkit_endpoint::Request<Vec<T>>> for JsonRpcBatchClient<H, T, U>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    T: Serialize,
    U: DeserializeOwned,
    B: Body<Error: Into<BoxError>>,
{
    type Response = Vec<Result<U, RpcError>>;
    type Error = RpcError;
    type Future = JsonRpcClientFuture<H::Future, Vec<Result<U, RpcError>>, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: towerkit_endpoint::Request<Vec<T>>) -> Self::Future {
        let sender = &mut self.sender;
        let messages = request.message;
        if messages.is_empty() {
            return JsonRpcClientFuture::ready(Ok(Vec::new()));
        }
        let first_id = sender.take_ids(messages.len());
        let calls = (first_id..).zip(&messages);
        let calls: Result<Vec<_>, _> = calls
            .map(|(id, message)| sender.encode_call(id, message))
            .collect();
        let encoded =
            calls.and_then(|calls| sender.encode(&calls, request.headers, request.extensions));
        let expected = Expected {
            first_id,
            calls: messages.len(),
            decode: |expected, head, body| {
                decode_batch(expected.first_id, expected.calls, head, body)
            },
        };
        match encoded {
            Ok(request) => sender.send(request, expected),
            Err(error) => JsonRpcClientFuture::ready(Err(error)),
        }
    }
}

/// The future of a [`JsonRpcClient`] or a [`JsonRpcBatchClient`], with a response of type `R`.
#[pin_project]
pub struct JsonRpcClientFuture<F, R, B: Body> {
    #[pin]
    state: State<F, R, B>,
}

#[pin_project(project = StateProj)]
enum State<F, R, B: Body> {
    Exchanging {
        #[pin]
        exchange: Exchange<F, B>,
        expected: Expected<R>,
    },
    /// No request is sent.
    Ready(Option<Result<R, RpcError>>),
}

/// The ids of the calls of a request, and the function that decodes its response.
struct Expected<R> {
    first_id: u64,
    calls: usize,
    decode: fn(&Self, &response::Parts, &Bytes) -> Result<R, RpcError>,
}

impl<F, R, B: Body> JsonRpcClientFuture<F, R, B> {
    fn ready(result: Result<R, RpcError>) -> Self {
        Self {
            state: State::Ready(Some(result)),
        }
    }
}

impl<F, R, B, E> Future for JsonRpcClientFuture<F, R, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Error: Into<BoxError>>,
    E: Into<BoxError>,
{
    type Output = Result<R, RpcError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Exchanging { exchange, expected } => {
                let (head, body) = ready!(exchange.poll(cx))?;
                Poll::Ready((expected.decode)(expected, &head, &body))
            }
            StateProj::Ready(result) => {
                Poll::Ready(result.take().expect("not polled after its end"))
            }
        }
    }
}

impl<H: Clone, T, U> Clone for JsonRpcClient<H, T, U> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            types: PhantomData,
        }
    }
}

impl<H: Clone, T, U> Clone for JsonRpcBatchClient<H, T, U> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            types: PhantomData,
        }
    }
}

impl<H, T, U> fmt::Debug for JsonRpcClient<H, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRpcClient")
            .field("uri", &self.sender.uri)
            .field("method", &self.sender.method)
            .finish_non_exhaustive()
    }
}

impl<H, T, U> fmt::Debug for JsonRpcBatchClient<H, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRpcBatchClient")
            .field("uri", &self.sender.uri)
            .field("method", &self.sender.method)
            .finish_non_exhaustive()
    }
}

impl<F, R, B: Body> fmt::Debug for JsonRpcClientFuture<F, R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRpcClientFuture")
            .finish_non_exhaustive()
    }
}
