use std::{
    fmt,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Method, Request, Uri,
    header::HOST,
    uri::{Authority, PathAndQuery, Scheme},
};
use tower_service::Service;
use towerkit_core::{ConfigError, Layer};

/// Sends requests to one origin: sets the scheme and the authority of their URIs.
///
/// Use it in front of a client, for example for one instance of a service behind a load balancer. The path and the query stay. A
/// [`Host`](https://www.rfc-editor.org/rfc/rfc9110#field.host) header that a request has is replaced, as one of a request that is
/// passed on names the host of the proxy; clients add the header to a request without one. A `CONNECT` passes unchanged.
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_http::OriginLayer;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let client = ServiceBuilder::new()
///     .layer(OriginLayer::new("http://10.0.0.7:8080")?)
///     .service_fn(|request: Request<()>| async move { Ok::<_, std::io::Error>(Response::new(request.uri().to_string())) });
///
/// let response = client.oneshot(Request::get("/sum?a=1").body(()).unwrap()).await.unwrap();
/// assert_eq!(response.body(), "http://10.0.0.7:8080/sum?a=1");
/// # Ok::<_, towerkit_core::ConfigError>(()) }).unwrap();
/// ```
///
/// # Readiness
///
/// `poll_ready` forwards to the inner service.
#[derive(Debug, Clone)]
pub struct OriginLayer {
    origin: ParsedOrigin,
}

/// The service that an [`OriginLayer`] makes.
#[derive(Debug, Clone)]
pub struct Origin<S> {
    inner: S,
    origin: ParsedOrigin,
}

#[derive(Debug, Clone)]
struct ParsedOrigin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl OriginLayer {
    /// Makes a layer for an origin such as `https://example.org`, or an [`Authority`] such as `10.0.0.7:8080`, which means `http`.
    ///
    /// # Errors
    ///
    /// If the origin is no URI, has no authority, or has user information, a path or a query.
    pub fn new(origin: impl TryInto<Uri> + fmt::Debug) -> Result<Self, ConfigError> {
        let text = format!("{origin:?}");
        let invalid = || {
            let text = text.trim_matches('"');
            ConfigError::new("origin", text, "a URI such as `http://10.0.0.7:80`")
        };
        let uri = origin.try_into().map_err(|_| invalid())?;
        let parts = uri.into_parts();
        let has_path = parts.path_and_query.is_some_and(|path| path != "/");
        let authority = parts
            .authority
            .filter(|authority| !has_path && !authority.as_str().contains('@'))
            .ok_or_else(invalid)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| invalid())?;
        Ok(Self {
            origin: ParsedOrigin {
                scheme: parts.scheme.unwrap_or(Scheme::HTTP),
                authority,
                host,
            },
        })
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = Origin<S>;

    fn layer(&self, inner: S) -> Origin<S> {
        Origin {
            inner,
            origin: self.origin.clone(),
        }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Origin<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if request.method() != Method::CONNECT {
            self.origin.set(&mut request);
        }
        self.inner.call(request)
    }
}

impl ParsedOrigin {
    fn set<B>(&self, request: &mut Request<B>) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        let root = || PathAndQuery::from_static("/");
        parts.path_and_query = Some(parts.path_and_query.unwrap_or_else(root));
        *request.uri_mut() = Uri::from_parts(parts).expect("a URI with all of its parts is valid");
        if let Some(host) = request.headers_mut().get_mut(HOST) {
            *host = self.host.clone();
        }
    }
}
