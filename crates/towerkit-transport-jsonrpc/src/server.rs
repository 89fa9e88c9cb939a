use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request};
use http_body::Body;
use pin_project::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;
use towerkit_core::{BoxError, ConfigError};
use towerkit_endpoint::{IntoRpcError, Request, endpoint};
use towerkit_transport_http::{ReadBody, ResponseBody, body_error, problem};

use crate::{
    ErrorObject, RawEndpoint,
    calls::{Calls, WaitingCall, response},
    message::{Call, parse},
    method::{method, unknown_method},
};

/// Endpoints as the methods of a JSON-RPC 2.0 server: a service of HTTP.
///
/// It takes an HTTP request with any body, and is a route of axum, a service of hyper or of `towerkit-server`. See the
/// [crate's documentation](crate) for an example.
#[derive(Clone)]
pub struct JsonRpc {
    methods: Arc<Methods>,
    body_limit: usize,
    batch_limit: usize,
    concurrency: NonZeroUsize,
}

#[derive(Clone)]
struct Methods {
    by_name: HashMap<&'static str, RawEndpoint>,
    unknown: RawEndpoint,
}

const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;
const DEFAULT_BATCH_LIMIT: usize = 100;
const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");

/// The operation of calls of unknown methods: the name of requests without a route over HTTP, too.
const UNMATCHED: &str = "unmatched";

impl JsonRpc {
    /// Makes a server without methods.
    #[must_use]
    pub fn new() -> Self {
        let methods = Methods {
            by_name: HashMap::new(),
            unknown: unknown_method(),
        };
        Self {
            methods: Arc::new(methods),
            body_limit: DEFAULT_BODY_LIMIT,
            batch_limit: DEFAULT_BATCH_LIMIT,
            concurrency: DEFAULT_CONCURRENCY,
        }
    }

    /// Serves an endpoint as a method. It replaces an earlier method of the same name.
    ///
    /// The name of the method is the operation of its calls. A message is decoded from the parameters: a struct by name or by position,
    /// a tuple or a list by position. Parameters without a value (`[]`, `{}`, `null`, or left out) are all the same.
    #[must_use]
    pub fn method<S, T>(mut self, name: &'static str, endpoint: S) -> Self
    where
        S: Service<Request<T>, Response: Serialize, Error: IntoRpcError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        T: DeserializeOwned + Send + 'static,
    {
        let methods = Arc::make_mut(&mut self.methods);
        methods.by_name.insert(name, method(endpoint));
        self
    }

    /// Adds a layer around each method that was added so far, outside of the decoding of its parameters.
    ///
    /// The layer sees each call of a batch as one [`Request`] under the name of its method, also a call with parameters that cannot be
    /// decoded. Its protocol is [`JsonRpc`](towerkit_core::ProtocolKind::JsonRpc): metrics, traces and logs name the call as that of a
    /// remote procedure. Calls of unknown methods have the operation `unmatched`, so that the operations are never made from input. A guard
    /// such as a rate limit is one for all methods together, unless it keeps its state by operation.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<RawEndpoint>,
        L::Service: Service<
                Request<Box<RawValue>>,
                Response = Box<RawValue>,
                Error: IntoRpcError,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        let methods = Arc::make_mut(&mut self.methods);
        let all = methods.by_name.values_mut();
        for method in all.chain([&mut methods.unknown]) {
            let layered = layer.layer(method.clone());
            *method = endpoint(layered.map_err(IntoRpcError::into_rpc_error));
        }
        self
    }

    /// Limits the body of a request to this number of bytes; 1 MiB by default. A longer one is answered with 413.
    ///
    /// The limit holds for the body as it arrives here: after decompression, if a layer around this service decompresses it. A body whose
    /// declared length is over the limit is not read.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Limits a batch to this number of calls; 100 by default. A longer one is answered with one error, -32600.
    #[must_use]
    pub fn batch_limit(mut self, calls: usize) -> Self {
        self.batch_limit = calls;
        self
    }

    /// Sets how many calls of one batch run at the same time; 16 by default.
    ///
    /// # Errors
    ///
    /// If `calls` is zero.
    pub fn concurrency(mut self, calls: usize) -> Result<Self, ConfigError> {
        self.concurrency = NonZeroUsize::new(calls)
            .ok_or_else(|| ConfigError::new("concurrency", calls, "at least 1"))?;
        Ok(self)
    }

    /// Reads the calls of a request.
    fn read(&self, head: request::Parts, body: &[u8]) -> Result<Calls, ErrorObject> {
        let json = parse(body).ok_or(ErrorObject::PARSE_ERROR)?;
        let is_batch = json.get().starts_with('[');
        let calls = if is_batch {
            // A body of n bytes has at most n / 2 calls, so the list is no larger than eight bodies.
            serde_json::from_str(json.get()).map_err(|_| ErrorObject::PARSE_ERROR)?
        } else {
            vec![json]
        };
        if calls.is_empty() {
            return Err(ErrorObject::INVALID_REQUEST);
        }
        if is_batch && calls.len() > self.batch_limit {
            return Err(ErrorObject::batch_too_long(self.batch_limit));
        }
        let mut waiting = Vec::with_capacity(calls.len());
        let mut responses = Vec::with_capacity(calls.len());
        for (index, json) in calls.into_iter().enumerate() {
            let invalid = match Call::read(json) {
                Ok(call) => {
                    waiting.push(self.waiting_call(index, &call));
                    None
                }
                Err(call) => Some(response(call.id, Err(ErrorObject::INVALID_REQUEST))),
            };
            responses.push(invalid);
        }
        let context = (head.headers, head.extensions);
        let concurrency = self.concurrency.get();
        Ok(Calls::new(
            waiting,
            responses,
            is_batch,
            concurrency,
            context,
        ))
    }

    fn waiting_call(&self, index: usize, call: &Call<'_>) -> WaitingCall {
        let methods = &*self.methods;
        let known = methods.by_name.get_key_value(&*call.method);
        let unknown_method = known.is_none().then(|| (*call.method).into());
        let (operation, endpoint) = known.unwrap_or((&UNMATCHED, &methods.unknown));
        WaitingCall {
            endpoint: endpoint.clone(),
            operation,
            unknown_method,
            params: call.params.to_owned(),
            id: call.id.map(ToOwned::to_owned),
            index,
        }
    }
}

impl Default for JsonRpc {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for JsonRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRpc")
            .field("methods", &self.methods.by_name.keys())
            .field("body_limit", &self.body_limit)
            .field("batch_limit", &self.batch_limit)
            .field("concurrency", &self.concurrency)
            .finish()
    }
}

impl<B> Service<http::Request<B>> for JsonRpc
where
    B: Body<Error: Into<BoxError>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = JsonRpcFuture<B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let state = if head.method == Method::POST {
            State::Reading {
                head: Some(head),
                body: ReadBody::new(body, self.body_limit),
            }
        } else {
            State::WrongMethod
        };
        JsonRpcFuture {
            server: self.clone(),
            state,
        }
    }
}

/// The future of [`JsonRpc`].
#[pin_project]
pub struct JsonRpcFuture<B> {
    server: JsonRpc,
    #[pin]
    state: State<B>,
}

#[pin_project(project = StateProj)]
enum State<B> {
    Reading {
        head: Option<request::Parts>,
        #[pin]
        body: ReadBody<B>,
    },
    Calling(Calls),
    /// The request has another HTTP method than POST.
    WrongMethod,
}

impl<B> Future for JsonRpcFuture<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let response = loop {
            match me.state.as_mut().project() {
                StateProj::Reading { head, body } => {
                    let body = match ready!(body.poll(cx)) {
                        Ok(body) => body,
                        Err(error) => break problem(&body_error(error, me.server.body_limit)),
                    };
                    let head = head.take().expect("not polled after its end");
                    match me.server.read(head, &body) {
                        Ok(calls) => me.state.set(State::Calling(calls)),
                        Err(error) => break json(response(RawValue::NULL, Err(error))),
                    }
                }
                StateProj::Calling(calls) => {
                    let body = ready!(calls.poll(cx));
                    break body.map_or_else(|| empty(StatusCode::NO_CONTENT), json);
                }
                StateProj::WrongMethod => {
                    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
                    let allowed = HeaderValue::from_static("POST");
                    response.headers_mut().insert(header::ALLOW, allowed);
                    break response;
                }
            }
        };
        Poll::Ready(Ok(response))
    }
}

impl<B> fmt::Debug for JsonRpcFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRpcFuture").finish_non_exhaustive()
    }
}

fn json(body: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(Bytes::from(body)));
    let content_type = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    response
}
