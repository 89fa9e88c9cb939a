//! Only idempotent calls with a replayable body are hedged.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use towerkit_core::{LayerExt, NoProtocol, OperationSet};
use towerkit_hedge::HedgeLayer;
use towerkit_http::HttpExt;
use towerkit_retry::Idempotence;
use towerkit_test::{Action, Probe};

use crate::{
    Get,
    backend::{Backend, MS, reply},
    call, get, layer, request,
};

fn slow() -> Backend {
    Backend::new([reply(300 * MS, 200)])
}

/// HG-04
#[tokio::test(start_paused = true)]
async fn only_idempotent_methods_are_hedged() {
    for (method, attempts) in [
        (Method::GET, 2),
        (Method::HEAD, 2),
        (Method::PUT, 2),
        (Method::DELETE, 2),
        (Method::POST, 1),
        (Method::PATCH, 1),
        (Method::CONNECT, 1),
    ] {
        let backend = slow();
        let request = request(method.clone(), "");
        call(&layer(), &backend, request).await.unwrap();
        assert_eq!(backend.times().len(), attempts, "{method}");
    }
}

/// HG-04: also after a failure.
#[tokio::test(start_paused = true)]
async fn a_post_that_failed_is_not_sent_again() {
    let backend = Backend::new([reply(MS, 503), reply(MS, 200)]);
    let post = request(Method::POST, "");
    let response = call(&layer(), &backend, post).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), backend.times().len()),
        (503, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_idempotence_function_accepts_is_hedged() {
    let backend = slow();
    let layer = layer().idempotent();
    call(&layer, &backend, request(Method::POST, "a search"))
        .await
        .unwrap();
    let bodies: Vec<_> = backend.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["a search", "a search"]);

    let layer = crate::layer().idempotent_if(|request: &Get| request.uri().path() == "/search");
    for (path, attempts) in [("/search", 2), ("/pay", 1)] {
        let backend = slow();
        let mut post = request(Method::POST, "ferris");
        *post.uri_mut() = path.parse().unwrap();
        call(&layer, &backend, post).await.unwrap();
        assert_eq!(backend.times().len(), attempts, "{path}");
    }
}

/// HG-04
#[tokio::test(start_paused = true)]
async fn a_request_of_unknown_idempotence_is_hedged_only_if_marked() {
    let layer = || HedgeLayer::after(50 * MS).unwrap();
    assert_eq!(plain_attempts(layer()).await, 1);
    assert_eq!(plain_attempts(layer().idempotent()).await, 2);
    assert_eq!(grpc_attempts(layer()).await, 1);
    assert_eq!(grpc_attempts(layer().idempotent()).await, 2);
}

async fn plain_attempts<I: Idempotence<Action> + Clone>(layer: HedgeLayer<NoProtocol, I>) -> u64 {
    let probe = Probe::new();
    let counts = probe.counts();
    let service = layer.plain("nap").layer(probe);
    service.oneshot(Action::Sleep(300 * MS)).await.unwrap();
    counts.started()
}

async fn grpc_attempts<I: Idempotence<Get> + Clone>(layer: HedgeLayer<NoProtocol, I>) -> usize {
    let backend = slow();
    let mut request = get();
    let grpc = "application/grpc".parse().unwrap();
    request.headers_mut().insert("content-type", grpc);
    let service = layer.grpc().layer(backend.clone());
    service.oneshot(request).await.unwrap();
    backend.times().len()
}

/// HG-04
#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_recorded_is_not_replayed() {
    let put = || request(Method::PUT, "0123456789");
    for (cap, attempts) in [(9, 1), (10, 2)] {
        let backend = slow();
        call(&layer().replay_up_to(cap), &backend, put())
            .await
            .unwrap();
        assert_eq!(backend.times().len(), attempts, "{cap}");
    }
    // A recorded body is replayed only after the first attempt has read it to its end, and a clone at any time.
    let backend = Backend::new([reply(300 * MS, 200).without_reading()]);
    let layer = layer();
    let boxed = put().map(BodyExt::boxed_unsync);
    let service = layer.clone().http().layer(backend.clone());
    service.oneshot(boxed).await.unwrap();
    assert_eq!(backend.times().len(), 1);
    assert_eq!(layer.handle().snapshot().available, 10);
    call(&layer, &backend, put()).await.unwrap();
    assert_eq!(backend.times().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn only_the_selected_operations_are_hedged() {
    let layer = HedgeLayer::after(50 * MS).unwrap().idempotent();
    for (operation, attempts) in [("search", 2), ("pay", 1)] {
        let probe = Probe::new();
        let counts = probe.counts();
        let layer = layer.clone().plain(operation);
        let service = layer.only(OperationSet::exact("search")).layer(probe);
        service
            .oneshot(Action::Sleep(Duration::from_secs(1)))
            .await
            .unwrap();
        assert_eq!(counts.started(), attempts, "{operation}");
    }
    assert_eq!(layer.handle().snapshot().calls, 1);
}
