use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, header::USER_AGENT};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use kube::{Client, client::Body};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tower::Service;
use towerkit_discovery::Pacer;

use crate::{
    KubernetesError,
    endpoint_slice::EndpointSliceList,
    error::{Kind, Verb},
    watch_body::{WatchBody, WatchEnd},
};

/// The time for a list, and for the head of a watch.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of a page of a list, and of an event, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024 * 1024;

/// The name of this client in the audit log of the API server.
const AGENT: &str = concat!("towerkit-discovery-kubernetes/", env!("CARGO_PKG_VERSION"));

/// The way of requests to the API server, with which a watcher never fails.
///
/// It spaces requests, gives them a timeout, and limits and checks answers. If one fails, it reports the fault, and the watcher waits
/// until it is dropped: kube's own recovery would go on after an event that it could not read, and from a version that a
/// restarted API server may not have.
#[derive(Clone)]
pub(crate) struct ApiService {
    client: Client,
    pacer: Arc<Mutex<Pacer>>,
    faults: mpsc::UnboundedSender<Fault>,
}

/// Why the slices must be listed anew.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The watch ended before its time, or was silent, or its version is gone.
    WatchEnded,
    /// The server does not have this version of the API.
    NotFound,
    /// The server does not accept the credentials.
    Unauthorized,
    /// The server does not grant the right.
    Forbidden(Verb),
    Failed(KubernetesError),
}

pub(crate) type ApiBody =
    Either<Full<bytes::Bytes>, WatchBody<Body, Box<dyn FnOnce(WatchEnd) + Send>>>;

impl ApiService {
    pub(crate) fn new(
        client: Client,
        pacer: Arc<Mutex<Pacer>>,
        faults: mpsc::UnboundedSender<Fault>,
    ) -> Self {
        Self {
            client,
            pacer,
            faults,
        }
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response<ApiBody>, Fault> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|pair| pair == "watch=true");
        self.pacer.lock().await.wait().await;
        let answer = async {
            if is_watch {
                self.watch(request).await
            } else {
                self.list(request).await
            }
        };
        timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(Fault::Failed(Kind::Timeout.into())))
    }

    async fn list(&self, request: Request<Body>) -> Result<Response<ApiBody>, Fault> {
        let (head, body) = self.head(request, Verb::List).await?.into_parts();
        let body = Limited::new(body, MAX_DOCUMENT).collect().await;
        let body = body.map_err(|error| {
            Fault::Failed(if error.is::<LengthLimitError>() {
                Kind::TooLarge.into()
            } else {
                KubernetesError::transport(&*error)
            })
        })?;
        let body = body.to_bytes();
        // kube would log the whole of an answer that it cannot read.
        if serde_json::from_slice::<EndpointSliceList>(&body).is_err() {
            return Err(Fault::Failed(Kind::Invalid(Verb::List).into()));
        }
        Ok(Response::from_parts(head, Either::Left(Full::new(body))))
    }

    async fn watch(&self, request: Request<Body>) -> Result<Response<ApiBody>, Fault> {
        let response = self.head(request, Verb::Watch).await?;
        self.pacer.lock().await.succeeded();
        let faults = self.faults.clone();
        let report: Box<dyn FnOnce(WatchEnd) + Send> = Box::new(move |end| {
            let _ = faults.send(match end {
                WatchEnd::Lost => Fault::WatchEnded,
                WatchEnd::TooLarge => Fault::Failed(Kind::TooLarge.into()),
            });
        });
        Ok(response.map(|body| Either::Right(WatchBody::new(body, MAX_DOCUMENT, report))))
    }

    async fn head(&self, request: Request<Body>, verb: Verb) -> Result<Response<Body>, Fault> {
        let response = self.client.send(request).await;
        let response =
            response.map_err(|error| Fault::Failed(KubernetesError::transport(&error)))?;
        match response.status().as_u16() {
            200..=299 => Ok(response),
            401 => Err(Fault::Unauthorized),
            403 => Err(Fault::Forbidden(verb)),
            404 => Err(Fault::NotFound),
            410 if verb == Verb::Watch => Err(Fault::WatchEnded),
            status => Err(Fault::Failed(Kind::Status { verb, status }.into())),
        }
    }
}

impl Service<Request<Body>> for ApiService {
    type Response = Response<ApiBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ApiBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            match service.send(request).await {
                Ok(response) => Ok(response),
                Err(fault) => {
                    let _ = service.faults.send(fault);
                    pending().await
                }
            }
        })
    }
}
