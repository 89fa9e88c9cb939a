//! The fallback over HTTP and gRPC.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{CallEnd, Outcome, Rejection, RejectionReason, Status};
use towerkit_fallback::{FallbackLayer, FallbackUsed};
use towerkit_http::HttpExt;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Reads the request, and answers with the status that its path names.
async fn as_told<B: BodyExt<Data = Bytes, Error: Debug>>(request: Request<B>) -> Answer {
    let status = request.uri().path()[1..].parse().unwrap();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// Echoes its request.
async fn echo<B: BodyExt<Data = Bytes, Error: Debug>>(request: Request<B>) -> Answer {
    let fields = request.headers().len();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{fields} fields and {}", String::from_utf8_lossy(&body));
    Ok(Response::new(Full::from(text)))
}

fn told(status: u16) -> Request<Full<Bytes>> {
    let request = Request::post(format!("/{status}")).header("x-user", "ann");
    request.body("an order".into()).unwrap()
}

async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn sorry(_failed: Answer, _end: &CallEnd) -> Answer {
    Ok(Response::new(Full::from("sorry")))
}

#[tokio::test]
async fn by_default_failures_of_the_upstream_fall_back() {
    let service = FallbackLayer::function(sorry)
        .http()
        .layer(service_fn(as_told));
    for (status, is_replaced) in [
        (200, false),
        (302, false),
        (400, false),
        (404, false),
        (408, false),
        (429, true),
        (499, false),
        (500, true),
        (502, true),
        (503, true),
        (504, true),
    ] {
        let Ok(response) = service.clone().oneshot(told(status)).await;
        assert_eq!(text(response).await == "sorry", is_replaced, "{status}");
    }
}

#[tokio::test]
async fn the_fallback_service_gets_the_request_with_its_body() {
    let layer = FallbackLayer::service(service_fn(echo));
    let service = layer.http().layer(service_fn(as_told));
    let Ok(response) = service.clone().oneshot(told(200)).await;
    assert_eq!(text(response).await, "an order");
    let Ok(response) = service.oneshot(told(500)).await;
    assert_eq!(text(response).await, "1 fields and an order");
}

#[tokio::test]
async fn a_failure_is_unchanged_if_the_request_body_is_too_long_to_record() {
    for (cap, status) in [(7, 500), (8, 200)] {
        let layer = FallbackLayer::service(service_fn(echo)).replay_up_to(cap);
        let handle = layer.handle();
        let Ok(response) = layer
            .http()
            .layer(service_fn(as_told))
            .oneshot(told(500))
            .await;
        assert_eq!(response.status(), status);
        assert_eq!(handle.snapshot().not_replayable, u64::from(status == 500));
    }
}

#[tokio::test]
async fn a_fallback_response_is_marked() {
    let layer = FallbackLayer::function(sorry).name("prices").http();
    let Ok(response) = layer.layer(service_fn(as_told)).oneshot(told(503)).await;
    let fell_back = response.extensions().get::<FallbackUsed>().unwrap();
    assert_eq!(fell_back.name(), "prices");
    assert_eq!(fell_back.outcome(), Outcome::Overloaded);
    assert_eq!(fell_back.status(), Some(Status::Http(503)));
    assert_eq!(fell_back.rejection_reason(), None);
    let Ok(response) = layer.layer(service_fn(as_told)).oneshot(told(200)).await;
    assert!(response.extensions().get::<FallbackUsed>().is_none());
}

/// Rejects as a layer further in does.
fn rejected(reason: RejectionReason, status: u16) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
        .extensions_mut()
        .insert(Rejection::new(reason, "inside"));
    Ok(response)
}

#[tokio::test]
async fn a_rejection_by_an_inner_layer_falls_back_unless_it_is_a_client_error() {
    for (reason, status, is_replaced) in [
        (RejectionReason::CircuitOpen, 503, true),
        (RejectionReason::RateLimited, 429, true),
        (RejectionReason::DeadlineExceeded, 504, true),
        (RejectionReason::Unauthenticated, 401, false),
        (RejectionReason::Forbidden, 403, false),
    ] {
        let inside = service_fn(move |_: Request<_>| async move { rejected(reason, status) });
        let layer = FallbackLayer::function(sorry).http();
        let Ok(response) = layer.layer(inside).oneshot(told(200)).await;
        assert_eq!(response.status() == 200, is_replaced, "{reason}");
        let fell_back = response.extensions().get::<FallbackUsed>();
        let expected = is_replaced.then_some(reason);
        assert_eq!(fell_back.and_then(FallbackUsed::rejection_reason), expected);
    }
}

#[tokio::test]
async fn over_grpc_the_code_in_the_head_decides() {
    for (code, is_replaced) in [("0", false), ("5", false), ("13", true), ("14", true)] {
        let inside = service_fn(move |_: Request<_>| async move {
            let response = Response::builder().header(CONTENT_TYPE, "application/grpc");
            let response = response.header("grpc-status", code).body(Full::default());
            Answer::Ok(response.unwrap())
        });
        let mut request = told(200);
        let grpc = "application/grpc".parse().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        let layer = FallbackLayer::function(sorry).http();
        let Ok(response) = layer.layer(inside).oneshot(request.clone()).await;
        assert_eq!(text(response).await == "sorry", is_replaced, "{code}");
        let layer = FallbackLayer::function(sorry).grpc();
        let Ok(response) = layer.layer(inside).oneshot(request).await;
        assert_eq!(text(response).await == "sorry", is_replaced, "{code}");
    }
}

#[tokio::test]
async fn a_response_that_can_be_cloned_is_a_value() {
    let closed = Response::new(Full::<Bytes>::from("closed"));
    let layer = FallbackLayer::value(closed).when(|end| end.status() == Some(Status::Http(404)));
    let Ok(response) = layer
        .http()
        .layer(service_fn(as_told))
        .oneshot(told(404))
        .await;
    assert_eq!(text(response).await, "closed");
}

/// As a connection of HTTP/1 is used again only then.
#[tokio::test(start_paused = true)]
async fn a_replaced_response_is_drained_while_the_fallback_service_runs() {
    let read = Arc::new(AtomicUsize::new(0));
    let failing = {
        let read = read.clone();
        service_fn(move |_: Request<Full<Bytes>>| {
            let read = read.clone();
            let body = Full::from("sorry").map_frame(move |frame: Frame<Bytes>| {
                read.fetch_add(1, Ordering::SeqCst);
                frame
            });
            let response = Response::builder().status(503).body(body.boxed_unsync());
            ready(Ok::<_, Infallible>(response.unwrap()))
        })
    };
    let other = service_fn(async |_: Request<Full<Bytes>>| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(Response::new(Full::<Bytes>::default().boxed_unsync()))
    });
    let layer = FallbackLayer::service(other).http();
    let Ok(response) = layer.layer(failing).oneshot(told(200)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(read.load(Ordering::SeqCst), 1);
}
