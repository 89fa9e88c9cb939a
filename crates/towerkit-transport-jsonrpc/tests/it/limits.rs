//! Limits of bodies and of batches.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use towerkit_endpoint::{RpcError, endpoint_fn};
use towerkit_transport_jsonrpc::JsonRpc;

use crate::harness::{call_json, post, refused, send, server};

fn batch(calls: usize) -> String {
    let calls = (0..calls).map(|id| json!({"jsonrpc":"2.0","method":"count","id":id}));
    Value::from_iter(calls).to_string()
}

/// JR-03
#[tokio::test]
async fn a_batch_over_the_limit_is_one_error() {
    let (server, count) = server();
    assert_eq!(refused(&server, batch(101)).await, -32600);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    let answers = call_json(&server, batch(100)).await;
    assert_eq!(answers.as_array().unwrap().len(), 100);
    let server = server.batch_limit(2);
    let error = call_json(&server, batch(3)).await["error"].take();
    assert_eq!(error["message"], "the batch has more than 2 calls");
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_with_413() {
    let (server, count) = server();
    let body = r#"{"jsonrpc":"2.0","method":"count","id":1}"#;
    let (head, _) = send(&server.clone().body_limit(body.len()), post(body)).await;
    assert_eq!(head.status(), 200);
    let (head, body) = send(&server.body_limit(body.len() - 1), post(body)).await;
    assert_eq!(head.status(), 413);
    assert_eq!(head.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "invalid_argument");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[test]
fn a_batch_without_concurrency_is_an_error_of_the_configuration() {
    assert!(JsonRpc::new().concurrency(1).is_ok());
    let error = JsonRpc::new().concurrency(0).unwrap_err();
    assert_eq!(error.setting(), "concurrency");
}

#[tokio::test]
async fn the_calls_of_a_batch_run_at_the_same_time_up_to_the_limit() {
    #[derive(Clone)]
    struct Gauge {
        running: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        finish: Arc<Semaphore>,
    }

    let gauge = Gauge {
        running: Arc::default(),
        most: Arc::default(),
        finish: Arc::new(Semaphore::new(0)),
    };
    let count = endpoint_fn(gauge.clone(), |gauge: Gauge, ()| async move {
        let running = gauge.running.fetch_add(1, Ordering::Relaxed) + 1;
        gauge.most.fetch_max(running, Ordering::Relaxed);
        gauge.finish.acquire().await.unwrap().forget();
        gauge.running.fetch_sub(1, Ordering::Relaxed);
        Ok::<_, RpcError>(())
    });
    let server = JsonRpc::new()
        .method("count", count)
        .concurrency(4)
        .unwrap();
    let calls = tokio::spawn(async move { call_json(&server, batch(10)).await });
    for finished in 0..10 {
        let expected = (10 - finished).min(4);
        while gauge.running.load(Ordering::Relaxed) < expected {
            tokio::task::yield_now().await;
        }
        gauge.finish.add_permits(1);
        while gauge.finish.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(calls.await.unwrap().as_array().unwrap().len(), 10);
    assert_eq!(gauge.most.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn the_calls_of_a_dropped_batch_are_dropped() {
    let running = Arc::new(());
    let wait = endpoint_fn(running.clone(), |running, ()| async move {
        std::future::pending::<()>().await;
        drop(running);
        Ok::<_, RpcError>(())
    });
    let server = JsonRpc::new().method("count", wait);
    let methods = Arc::strong_count(&running);
    let mut calls = Box::pin(call_json(&server, batch(20)));
    assert!(futures_util::poll!(&mut calls).is_pending());
    assert!(Arc::strong_count(&running) >= methods + 16);
    drop(calls);
    assert_eq!(Arc::strong_count(&running), methods);
}
