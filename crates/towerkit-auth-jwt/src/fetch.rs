use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use towerkit_core::{BoxError, ConfigError};
use towerkit_http::HttpExt;
use towerkit_retry::RetryLayer;
use towerkit_timeout::TimeoutLayer;

/// The time for the head of one response.
const ATTEMPT_TIME: Duration = Duration::from_secs(5);

/// The time for a document, with all attempts.
const TOTAL_TIME: Duration = Duration::from_secs(15);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Fetches small documents. It follows no redirects, unless the client of the program does.
///
/// The client is made when it is first needed: a key set in a file needs no client.
#[derive(Clone)]
pub(crate) struct Fetch(Arc<OnceLock<Client>>);

type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, BoxError>;

impl Fetch {
    /// Fetches by [`client`](towerkit_http::client), with a timeout and retries.
    pub(crate) fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// Fetches by a client of the program.
    pub(crate) fn by<C, B>(client: C) -> Self
    where
        C: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(OnceLock::from(boxed(client))))
    }

    /// Sends a request, and reads a body of at most `limit` bytes.
    pub(crate) async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        let call = async {
            let response = self
                .0
                .get_or_init(default_client)
                .clone()
                .oneshot(request)
                .await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, limit).collect().await?;
            Ok((head.status, body.to_bytes()))
        };
        tokio::time::timeout(TOTAL_TIME, call).await?
    }

    /// Fetches a document of JSON by GET.
    pub(crate) async fn get(&self, uri: &Uri, limit: usize) -> Result<Bytes, BoxError> {
        let request = Request::get(uri)
            .header("accept", "application/json")
            .body(Full::default())?;
        match self.fetch(request, limit).await? {
            (StatusCode::OK, body) => Ok(body),
            // Without the query, which may have a key.
            (status, _) => Err(format!("the status of {} is {status}", uri.path()).into()),
        }
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}

fn default_client() -> Client {
    let timeout = TimeoutLayer::new(ATTEMPT_TIME).expect("5 s are a valid timeout");
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new().http_client())
        .layer(timeout.http_client())
        .service(towerkit_http::client::<Full<Bytes>>());
    boxed(client)
}

fn boxed<C, B>(client: C) -> Client
where
    C: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let client = client
        .map_response(|response| response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
        .map_err(Into::into);
    BoxCloneSyncService::new(client)
}

/// Reads a URL. Without TLS any machine on the way could replace keys and read tokens, so that `http` is for development only.
pub(crate) fn parse_url(
    setting: &'static str,
    url: &str,
    development: bool,
) -> Result<Uri, ConfigError> {
    let expected = if development {
        "an absolute URL of http or https without user information"
    } else {
        "an absolute URL of https without user information"
    };
    // A URL with user information, or what is taken for it, is not shown.
    let shown = if url.contains('@') { ".." } else { url };
    let error = || ConfigError::new(setting, shown, expected);
    let uri: Uri = url.parse().map_err(|_| error())?;
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let is_allowed = is_secure || development && uri.scheme() == Some(&Scheme::HTTP);
    let has_user = uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    (is_allowed && !has_user).then_some(uri).ok_or_else(error)
}
