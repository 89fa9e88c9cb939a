//! Handlers as routes of axum, and behind its extractors.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Path, Query},
    http::{HeaderMap, Request, StatusCode, request},
    response::{IntoResponse, Redirect, Response},
    routing::{get_service, post_service},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{RejectionReason, observe};
use towerkit_endpoint::{Request as EndpointRequest, RpcError, RpcExt, call_fn, endpoint_fn};
use towerkit_http::HttpExt;
use towerkit_ratelimit::RateLimitLayer;
use towerkit_transport_http::{Json, problem, serve};

use crate::{
    errors::{ErrorEncoder, check, own},
    wire::{Answer, Dropped, Recorder, Wire, call, listen, one_per_hour, until},
};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Profile {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Page {
    page: u32,
}

async fn send(app: &Router, request: Request<&'static str>) -> Answer {
    call(app.clone(), request.map(Body::from)).await
}

fn put(path: &str, body: &'static str) -> Request<&'static str> {
    Request::put(path).body(body).unwrap()
}

fn get(path: &str) -> Request<&'static str> {
    Request::get(path).body("").unwrap()
}

/// The router of go-kit's profilesvc: a path and a body make one message.
fn profiles(errors: ErrorEncoder) -> Router {
    let store = endpoint_fn((), |(), profile: Profile| async {
        Ok::<_, RpcError>(profile)
    });
    let store = serve("put_profile", Json, store)
        .errors(errors)
        .extract(|Path(id), Name { name }: Name| Profile { id, name });
    let list = endpoint_fn(
        (),
        |(), page: u32| async move { Ok::<_, RpcError>(vec![page]) },
    );
    let list = serve("list", Json, list)
        .errors(errors)
        .extract(|Query(Page { page }), ()| page);
    let tenant = endpoint_fn((), |(), tenant: String| async { Ok::<_, RpcError>(tenant) });
    let tenant = serve("tenant", Json, tenant)
        .errors(errors)
        .extract(|Tenant(tenant), ()| tenant);
    Router::new()
        .route("/profiles/{id}", axum::routing::put_service(store))
        .route("/list", get_service(list))
        .route("/tenant", get_service(tenant))
}

/// A header, required.
struct Tenant(String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = (StatusCode, [(&'static str, &'static str); 1], &'static str);

    async fn from_request_parts(head: &mut request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        let tenant = head
            .headers
            .get("x-tenant")
            .and_then(|value| value.to_str().ok());
        let tenant = tenant.map(|tenant| Self(tenant.to_owned()));
        let wait = [("retry-after", "7")];
        match tenant {
            Some(Self(name)) if name == "broken" => {
                Err((StatusCode::INTERNAL_SERVER_ERROR, wait, "secret"))
            }
            Some(Self(name)) if name == "panic" => panic!("secret"),
            Some(tenant) => Ok(tenant),
            None => Err((
                StatusCode::UNAUTHORIZED,
                wait,
                "the header x-tenant is missing",
            )),
        }
    }
}

#[tokio::test]
async fn a_path_a_query_and_a_header_become_the_message() {
    let app = profiles(problem);
    let answer = send(&app, put("/profiles/7", r#"{"name":"Ann"}"#)).await;
    assert_eq!(answer.json(), json!({ "id": 7, "name": "Ann" }));
    assert_eq!(send(&app, get("/list?page=3")).await.text(), "[3]");
    let request = Request::get("/tenant")
        .header("x-tenant", "blue")
        .body("")
        .unwrap();
    assert_eq!(send(&app, request).await.text(), r#""blue""#);
}

/// One encoder sees the rejections of extractors, too.
#[tokio::test]
async fn the_rejection_of_an_extractor_is_an_error_like_any_other() {
    for is_own in [false, true] {
        let app = profiles(if is_own { own } else { problem });
        let tenant = |name| {
            Request::get("/tenant")
                .header("x-tenant", name)
                .body("")
                .unwrap()
        };
        let table = [
            (
                "path",
                put("/profiles/seven", "{}"),
                400,
                "invalid_argument",
            ),
            ("query", get("/list"), 400, "invalid_argument"),
            ("header", get("/tenant"), 401, "unauthenticated"),
            ("broken", tenant("broken"), 500, "internal"),
            ("panic", tenant("panic"), 500, "internal"),
            ("body", put("/profiles/7", "{"), 400, "invalid_argument"),
            ("type", put("/profiles/7", "[]"), 400, "invalid_argument"),
        ];
        for (what, request, status, code) in table {
            let answer = send(&app, request).await;
            check(&answer, is_own, status, code, what);
            if what == "header" && !is_own {
                assert_eq!(answer.json()["detail"], "the header x-tenant is missing");
                assert_eq!(answer.header("retry-after"), Some("7"));
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
    }
}

/// An extractor of axum may answer by itself.
#[tokio::test]
async fn a_redirect_of_an_extractor_is_the_response() {
    struct User;
    impl FromRequestParts<()> for User {
        type Rejection = Response;

        async fn from_request_parts(_: &mut request::Parts, (): &()) -> Result<Self, Response> {
            Err(Redirect::to("/login").into_response())
        }
    }
    let endpoint = endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let handler = serve("account", Json, endpoint).extract(|User, ()| ());
    let app = Router::new().route("/account", get_service(handler));
    let answer = send(&app, get("/account")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/login"))
    );
}

#[tokio::test]
async fn the_options_of_a_handler_hold_behind_an_extractor() {
    let endpoint = endpoint_fn((), |(), text: String| async { Ok::<_, RpcError>(text) });
    let handler = serve("echo", Json, endpoint)
        .method(axum::http::Method::PUT)
        .body_limit(5)
        .extract(|_: HeaderMap, text: String| text);
    let app = Router::new().route("/", axum::routing::any_service(handler));
    assert_eq!(send(&app, put("/", r#""abc""#)).await.status, 200);
    check(
        &send(&app, put("/", r#""abcd""#)).await,
        false,
        413,
        "invalid_argument",
        "413",
    );
    check(
        &send(&app, get("/")).await,
        false,
        405,
        "invalid_argument",
        "405",
    );
    let chunks = ["\"ab", "cd\""].map(Ok::<_, Infallible>);
    let chunks = Body::from_stream(futures_util::stream::iter(chunks));
    let request = Request::put("/").body(chunks).unwrap();
    check(
        &call(app.clone(), request).await,
        false,
        413,
        "invalid_argument",
        "chunked",
    );
}

/// A handler that is a GET route answers HEAD, as axum's own do.
#[tokio::test]
async fn head_is_served_by_a_get_route() {
    let app = profiles(problem);
    let request = Request::head("/list?page=3").body("").unwrap();
    let answer = send(&app, request).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!(answer.header("content-length"), Some("3"));
}

/// The obvious use: layers for each operation around its endpoint, layers for all of them around the router.
#[tokio::test]
async fn an_observer_around_the_router_sees_rejections_by_layers_around_the_endpoint() {
    let recorder = Recorder::default();
    let endpoint = ServiceBuilder::new()
        .layer(RateLimitLayer::new(one_per_hour()).rpc())
        .service(endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) }));
    let app = Router::new()
        .route("/limited", post_service(serve("limited", Json, endpoint)))
        .layer(observe(recorder.clone()).axum());
    let request = || Request::post("/limited").body("null").unwrap();
    assert_eq!(send(&app, request()).await.status, 200);
    recorder.only();
    let answer = send(&app, request()).await;
    check(&answer, false, 429, "rate_limited", "rate limit");
    assert!(answer.header("retry-after").is_some());
    let end = recorder.only();
    assert_eq!(end.rejection_reason(), Some(RejectionReason::RateLimited));
}

/// The values that axum adds to the request reach the endpoint.
#[tokio::test]
async fn an_endpoint_sees_the_extensions_and_the_headers_of_the_request() {
    let endpoint = call_fn((), |(), request: EndpointRequest<()>| async move {
        let number: Option<&u32> = request.extensions.get();
        Ok::<_, RpcError>((number.copied(), request.headers.contains_key("x-tenant")))
    });
    let handler = serve("context", Json, endpoint).extract(|_: HeaderMap, ()| ());
    let app = Router::new()
        .route("/", get_service(handler))
        .layer(axum::Extension(7_u32));
    let request = Request::get("/")
        .header("x-tenant", "blue")
        .body("")
        .unwrap();
    assert_eq!(send(&app, request).await.text(), "[7,true]");
}

/// T-03, HT-08: also while the extractor runs.
#[tokio::test]
async fn dropping_the_call_drops_the_extractor_or_the_endpoint() {
    struct Waits;
    impl FromRequestParts<()> for Waits {
        type Rejection = Infallible;

        async fn from_request_parts(
            head: &mut request::Parts,
            (): &(),
        ) -> Result<Self, Infallible> {
            let dropped: &Dropped = head.extensions.get().unwrap();
            let _guard = dropped.guard();
            if head.uri.path() == "/extract" {
                std::future::pending::<()>().await;
            }
            Ok(Self)
        }
    }
    let limit = ConcurrencyLimitLayer::new(1).unwrap();
    let handle = limit.handle();
    let endpoint = ServiceBuilder::new()
        .layer(limit.rpc())
        .service(endpoint_fn((), |(), ()| {
            std::future::pending::<Result<(), RpcError>>()
        }));
    let handler = serve("wait", Json, endpoint).extract(|_: Waits, ()| ());
    for (path, in_flight) in [("/extract", 0), ("/call", 1)] {
        let dropped = Dropped::default();
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(dropped.clone());
        let mut response = Box::pin(handler.clone().oneshot(request));
        assert!(futures_util::poll!(&mut response).is_pending());
        assert_eq!(handle.snapshot().in_flight, in_flight);
        drop(response);
        assert_eq!((handle.snapshot().in_flight, dropped.count()), (0, 1));
    }
}

/// HT-07, HT-08: over a socket.
#[tokio::test]
async fn a_router_serves_handlers_over_a_socket() {
    let (started, futures) = (Arc::new(Notify::new()), Dropped::default());
    let endpoint = endpoint_fn(
        (started.clone(), futures.clone()),
        |(started, futures), wait: bool| async move {
            let _guard = futures.guard();
            assert!(wait, "secret");
            started.notify_one();
            std::future::pending::<Result<(), RpcError>>().await
        },
    );
    let handler = serve("wait", Json, endpoint).extract(|Path(wait): Path<bool>, ()| wait);
    let app = Router::new().route("/{wait}", get_service(handler));
    let mut wire = Wire::connect(listen(app).await).await;
    wire.send("GET /false HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(wire.head().await.starts_with("http/1.1 500"));
    wire.read_to("}").await;
    assert_eq!(futures.count(), 1);
    wire.send("GET /true HTTP/1.1\r\nhost: test\r\n\r\n").await;
    started.notified().await;
    drop(wire);
    until(|| futures.count() == 2).await;
}
