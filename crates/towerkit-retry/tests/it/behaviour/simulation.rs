//! RT-04: three tiers that all retry, over a simulated network, with a last upstream that is down.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::http1::handshake,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tower::{BoxError, Layer, Service, ServiceExt};
use towerkit_http::{Http, HttpExt};
use towerkit_retry::{Budget, RETRY_ATTEMPT, Retry, RetryLayer};
use towerkit_test::tokio_clock;
use turmoil::net::{TcpListener, TcpStream};

type Nothing = Empty<Bytes>;

/// Sends each request over a connection of its own.
#[derive(Clone)]
struct Hop(&'static str);

impl Service<Request<Nothing>> for Hop {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Nothing>) -> Self::Future {
        let to = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect((to, 80)).await?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok(sender.send_request(request).await?)
        })
    }
}

/// How the tiers retry.
#[derive(Clone, Copy)]
struct Way {
    ratio: f64,
    unless_retried: bool,
}

impl Way {
    fn towards(self, to: &'static str) -> Retry<Hop, Http> {
        let budget = Budget::new(self.ratio, 0).unwrap().clock(tokio_clock());
        let layer = RetryLayer::new().http().budget(budget);
        if self.unless_retried {
            layer.unless_retried().layer(Hop(to))
        } else {
            layer.layer(Hop(to))
        }
    }
}

async fn serve<S>(service: S) -> turmoil::Result
where
    S: HttpService<Incoming, ResBody = Nothing, Error: Into<BoxError>> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            _ = connection.await;
        });
    }
}

fn pass_on(from: &HeaderMap, to: &mut HeaderMap) {
    if let Some(attempt) = from.get(RETRY_ATTEMPT) {
        to.insert(RETRY_ATTEMPT, attempt.clone());
    }
}

/// A tier that forwards each request to the next, and returns its response.
async fn tier(way: Way, to: &'static str) -> turmoil::Result {
    let next = way.towards(to);
    serve(service_fn(move |request: Request<Incoming>| {
        let next = next.clone();
        async move {
            let mut onward = Request::new(Nothing::new());
            pass_on(request.headers(), onward.headers_mut());
            let answer = next.oneshot(onward).await?;
            let mut response = Response::new(Nothing::new());
            *response.status_mut() = answer.status();
            pass_on(answer.headers(), response.headers_mut());
            Ok::<_, BoxError>(response)
        }
    }))
    .await
}

async fn down(asked: Arc<AtomicUsize>) -> turmoil::Result {
    serve(service_fn(move |_request| {
        asked.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Nothing::new());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        async { Ok::<_, Infallible>(response) }
    }))
    .await
}

/// Calls the first of three tiers 200 times a second, and returns the number of requests to the last upstream.
fn load(way: Way, calls: usize) -> usize {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut simulation = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(120))
        .rng_seed(7)
        .build();
    let seen = asked.clone();
    simulation.host("leaf", move || down(seen.clone()));
    for (name, to) in [("third", "leaf"), ("second", "third")] {
        simulation.host(name, move || tier(way, to));
    }
    simulation.client("first", async move {
        let service = way.towards("second");
        let mut running = Vec::new();
        for _ in 0..calls {
            running.push(tokio::spawn(
                service.clone().oneshot(Request::new(Nothing::new())),
            ));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for call in running {
            assert_eq!(call.await?.unwrap().status(), 503);
        }
        Ok(())
    });
    simulation.run().unwrap();
    asked.load(Ordering::SeqCst)
}

/// The amplification without a limit.
#[test]
fn three_tiers_of_three_attempts_multiply() {
    let way = Way {
        ratio: 10.0,
        unless_retried: false,
    };
    assert_eq!(load(way, 20), 20 * 27);
}

#[test]
fn budgets_limit_the_load_to_a_factor_for_each_tier() {
    let way = Way {
        ratio: 0.2,
        unless_retried: false,
    };
    let load = load(way, 500);
    assert!((850..=864).contains(&load), "{load}");
}

#[test]
fn unless_retried_limits_the_load_to_the_factor_of_one_tier() {
    let way = Way {
        ratio: 0.2,
        unless_retried: true,
    };
    let load = load(way, 500);
    assert!((595..=600).contains(&load), "{load}");
}
