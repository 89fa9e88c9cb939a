#[cfg(feature = "axum")]
use axum::extract::{MatchedPath, NestedPath};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri};

/// A request without its body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// What other layers and the server attached.
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

/// A response without its body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// What the layers further in attached.
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
/// Names become metric labels: there must be few of them, however many different paths are asked for.
pub trait OperationName {
    /// Returns the name.
    fn operation<'a>(&'a self, head: RequestHead<'a>) -> &'a str;

    /// Whether the name is that of a route; false where none matched. A log then shows the path besides.
    fn is_routed(&self, _head: RequestHead<'_>) -> bool {
        true
    }
}

/// Names every operation `unmatched`: there is no router to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unrouted;

impl OperationName for Unrouted {
    #[inline(always)]
    fn operation<'a>(&'a self, _head: RequestHead<'a>) -> &'a str {
        UNMATCHED
    }

    fn is_routed(&self, _head: RequestHead<'_>) -> bool {
        false
    }
}

const UNMATCHED: &str = "unmatched";

/// Asks a function for the name, see [`Http::operation`](crate::Http::operation).
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

/// Names operations by the route that axum matched; by the prefix of `nest_service` below it, where axum knows no route; and
/// otherwise `unmatched`.
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
