use std::sync::LazyLock;

use axum::{Router, body::Body, routing::get};
use http::{HeaderMap, HeaderValue, Request, Uri, header};

/// Makes the axum application that the cases of a router stand around: ten routes, each of which answers five bytes.
pub fn app() -> Router {
    const ROUTES: [&str; 10] = [
        "/",
        "/healthz",
        "/search",
        "/users",
        "/users/{name}",
        "/orders",
        "/orders/{id}",
        "/items",
        "/items/{id}",
        "/items/{id}/parts",
    ];
    let route = |app: Router<()>, path| app.route(path, get(async || "hello"));
    ROUTES.into_iter().fold(Router::new(), route).with_state(())
}

/// The headers that a proxy passes on of a browser's request.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let headers = [
        (header::HOST, "shop.example.com"),
        (header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64)"),
        (header::ACCEPT, "text/html,application/json;q=0.9,*/*;q=0.8"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br"),
        (header::ACCEPT_LANGUAGE, "en-GB,en;q=0.5"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::COOKIE, "session=0123456789abcdef"),
        (header::FORWARDED, "for=192.0.2.60;proto=https"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    headers.into_iter().collect()
});

/// Makes a request with eight headers to a route with a parameter.
pub(crate) fn request() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/items/7");
    request.headers_mut().clone_from(&HEADERS);
    request
}
