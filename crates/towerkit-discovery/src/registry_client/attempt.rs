use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::time::{Instant, timeout};
use tower_service::Service;
use towerkit_core::ConfigError;

use super::{
    error::{Failure, RegistryClientError},
    gate::Gate,
    request::{RegistryRequest, RegistryResponse},
};

/// The maximum size of a response in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// The time after which a connection that is not used is closed. Servers close theirs later.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time after which the peer of a silent connection is probed, and between its probes, so that a dead long poll ends.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// A request that is given up after this time says that the server does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The settings of a client.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) urls: Vec<BaseUrl>,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) secrets: Vec<String>,
    pub(super) roots: Option<RootCertStore>,
    pub(super) certificate: Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>,
}

/// A server, and the path under which its interface is.
#[derive(Clone)]
pub(super) struct BaseUrl {
    pub(super) origin: Arc<str>,
    pub(super) path: Box<str>,
}

/// Sends a request once, to the server of the moment.
#[derive(Clone)]
pub(super) struct Attempt(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    secrets: Arc<[String]>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    gate: Gate,
    /// The server of the moment, modulo their number.
    current: AtomicUsize,
}

impl Config {
    pub(super) fn new(urls: Vec<BaseUrl>) -> Self {
        Self {
            urls,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            headers: Vec::new(),
            secrets: Vec::new(),
            roots: None,
            certificate: None,
        }
    }

    fn tls(&self) -> Result<ClientConfig, ConfigError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions of TLS");
        let config = match &self.roots {
            Some(roots) => config.with_root_certificates(roots.clone()),
            None => config.with_webpki_roots(),
        };
        match &self.certificate {
            Some((chain, key)) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| {
                    let expected = "a certificate and the key that belongs to it";
                    ConfigError::new("client certificate", error.to_string(), expected)
                }),
            None => Ok(config.with_no_client_auth()),
        }
    }
}

impl Attempt {
    pub(super) fn new(config: Arc<Config>) -> Result<Self, ConfigError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(2));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.tls()?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self(Arc::new(Inner {
            secrets: config.secrets.clone().into(),
            client,
            gate: Gate::default(),
            current: AtomicUsize::new(0),
            config,
        })))
    }
}

impl Service<RegistryRequest> for Attempt {
    type Response = RegistryResponse;
    type Error = RegistryClientError;
    type Future =
        Pin<Box<dyn Future<Output = Result<RegistryResponse, RegistryClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RegistryRequest) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.send(request).await })
    }
}

impl Inner {
    async fn send(
        &self,
        request: RegistryRequest,
    ) -> Result<RegistryResponse, RegistryClientError> {
        self.gate.enter().await;
        let index = self.current.load(Relaxed);
        let urls = &self.config.urls;
        let url = &urls[index % urls.len()];
        let error = |failure| RegistryClientError::new(&url.origin, failure);
        let limit = self.config.timeout + request.wait;
        let expected = request.expected;
        let mut running = Running {
            inner: self,
            index,
            started_at: Some(Instant::now()),
            is_long: !request.wait.is_zero(),
        };
        let result = match timeout(limit, self.exchange(url, request)).await {
            Ok(Ok(response))
                if is_failure(response.status) && Some(response.status) != expected =>
            {
                Err(response.error())
            }
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => Err(error(failure)),
            Err(_) => Err(error(Failure::TimedOut(limit))),
        };
        running.finish(&result);
        result
    }

    async fn exchange(
        &self,
        url: &BaseUrl,
        request: RegistryRequest,
    ) -> Result<RegistryResponse, Failure> {
        let unreachable =
            |error: &(dyn Error + 'static)| Failure::Unreachable(root_cause(error).into());
        let uri = format!("{}{}{}", url.origin, url.path, request.path_and_query());
        let mut message = Request::builder().method(request.method).uri(uri);
        message = message.header(ACCEPT, "application/json");
        if request.body.is_some() {
            message = message.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.config.headers {
            message = message.header(name, value);
        }
        let message = message
            .body(Full::new(request.body.unwrap_or_default()))
            .map_err(|error| unreachable(&error))?;
        let response = self.client.request(message).await;
        let (head, body) = response.map_err(|error| unreachable(&error))?.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    return Failure::TooLarge;
                }
                unreachable(&*error)
            })?;
        Ok(RegistryResponse {
            origin: url.origin.clone(),
            secrets: self.secrets.clone(),
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

/// A status that says more about the server than about the request.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error()
}

/// A status that repeated requests of any service will get again.
fn is_refusal(status: StatusCode) -> bool {
    [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&status)
}

/// A request under way. One that is given up while the server should have answered is a failure.
struct Running<'a> {
    inner: &'a Inner,
    index: usize,
    started_at: Option<Instant>,
    is_long: bool,
}

impl Running<'_> {
    fn finish(&mut self, result: &Result<RegistryResponse, RegistryClientError>) {
        self.started_at = None;
        match result {
            Ok(response) if is_refusal(response.status) => self.inner.gate.failed(),
            Ok(_) => self.inner.gate.succeeded(),
            Err(_) => self.fail(),
        }
    }

    fn fail(&self) {
        self.inner.gate.failed();
        // Unless another request has moved on already.
        let next = self.index.wrapping_add(1);
        let _ = self
            .inner
            .current
            .compare_exchange(self.index, next, Relaxed, Relaxed);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let is_late = |at: Instant| at.elapsed() >= PATIENCE;
        if !self.is_long && self.started_at.is_some_and(is_late) {
            self.fail();
        }
    }
}

fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").finish_non_exhaustive()
    }
}
