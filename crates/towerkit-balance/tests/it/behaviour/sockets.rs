//! Over connections.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, task::JoinSet};
use tower::{Layer, ServiceBuilder, ServiceExt};
use towerkit_balance::{BalanceLayer, P2c};
use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_discovery::{Discovery, Instance, InstanceService};
use towerkit_http::{HttpExt, OriginLayer};
use towerkit_retry::{Budget, RetryLayer};

/// A server that responds with its address, until it is dropped with its connections.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(move |_: Request<Incoming>| async move {
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(address.to_string())))
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

/// One of three servers dies with its connections while 20 callers send requests: no call fails.
#[tokio::test]
async fn no_idempotent_call_fails_when_an_instance_dies() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start().await);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let discovery = Discovery::fixed(servers.iter().map(|server| Instance::from(server.address)));
    let endpoints = discovery.endpoints(move |instance| {
        let origin = OriginLayer::new(format!("http://{}", instance.address))
            .expect("an address is an authority");
        InstanceService::new(origin.layer(client.clone())).guards(CircuitBreakerLayer::new())
    });
    let layer = BalanceLayer::new(P2c::new()).http();
    let handle = layer.handle();
    let service = ServiceBuilder::new()
        .layer(
            RetryLayer::new()
                .budget(Budget::new(10.0, 1_000).unwrap())
                .http_client(),
        )
        .layer(layer)
        .service(endpoints);
    let served = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let (service, served) = (service.clone(), served.clone());
        callers.spawn(async move {
            for _ in 0..100 {
                let response = service
                    .clone()
                    .oneshot(Request::new(Empty::new()))
                    .await
                    .expect("no call fails");
                assert_eq!(response.status(), 200);
                response
                    .into_body()
                    .collect()
                    .await
                    .expect("no body breaks off");
                served.fetch_add(1, Relaxed);
            }
        });
    }
    while served.load(Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    drop(servers.remove(1));
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let instances = handle.snapshot().instances;
    assert!(
        instances
            .iter()
            .all(|instance| instance.calls_in_flight == 0),
        "{instances:?}"
    );
    assert_eq!(
        instances
            .iter()
            .filter(|instance| instance.failures > 0)
            .count(),
        1
    );
}
