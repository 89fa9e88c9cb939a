#[cfg(feature = "axum")]
use axum::extract::{MatchedPath, NestedPath};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri};

/// The head of a request, without its body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions that the server and outer layers inserted.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// The head of a response, without its body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions that inner layers inserted.
    pub extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    #[inline(always)]
    pub(crate) fn of<B>(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

/// Names the operation of an HTTP request.
///
/// Names become metric labels, so that there must be few of them: a route, and not a path.
pub trait OperationName {
    /// Returns the name of the operation.
    fn operation<'a>(&'a self, head: RequestHead<'a>) -> &'a str;

    /// Returns true if the name is that of a route. A log shows the path as well if it is not.
    fn is_routed(&self, _head: RequestHead<'_>) -> bool {
        true
    }
}

/// Names every operation `unmatched`, for services without a router.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmatched;

impl OperationName for Unmatched {
    #[inline(always)]
    fn operation<'a>(&'a self, _head: RequestHead<'a>) -> &'a str {
        UNMATCHED
    }

    fn is_routed(&self, _head: RequestHead<'_>) -> bool {
        false
    }
}

const UNMATCHED: &str = "unmatched";

/// Names operations by a function, see [`Http::operation`](crate::Http::operation).
#[derive(Debug, Clone, Copy)]
pub struct OperationFn<F>(pub(crate) F);

impl<F> OperationName for OperationFn<F>
where
    F: for<'a> Fn(RequestHead<'a>) -> &'a str,
{
    #[inline(always)]
    fn operation<'a>(&'a self, head: RequestHead<'a>) -> &'a str {
        (self.0)(head)
    }
}

/// Names operations by the route that axum [matched](MatchedPath).
///
/// Below [`nest_service`](axum::Router::nest_service), where axum knows no route, the name is the prefix of the nested service. It is
/// `unmatched` otherwise.
#[cfg(feature = "axum")]
#[derive(Debug, Clone, Copy, Default)]
pub struct ByMatchedPath;

#[cfg(feature = "axum")]
impl OperationName for ByMatchedPath {
    #[inline(always)]
    fn operation<'a>(&'a self, head: RequestHead<'a>) -> &'a str {
        let matched = head.extensions.get().map(MatchedPath::as_str);
        matched.unwrap_or_else(|| nested(head))
    }

    fn is_routed(&self, head: RequestHead<'_>) -> bool {
        head.extensions.get::<MatchedPath>().is_some()
    }
}

/// Out of line: most requests match a route.
#[cfg(feature = "axum")]
#[cold]
fn nested(head: RequestHead<'_>) -> &str {
    let prefix = head.extensions.get().map(NestedPath::as_str);
    prefix.unwrap_or(UNMATCHED)
}
