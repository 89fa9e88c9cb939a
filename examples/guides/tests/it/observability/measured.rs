//! A registry in which everything has happened that towerkit measures.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{
    BoxError, CarriesRejection, Clock, Event, EventSink, LayerExt, TraceIds, stack,
};
use towerkit_http::HttpExt;
use towerkit_metrics::{Buckets, MetricsLayer, Registry};
use towerkit_ratelimit::{Quota, RateLimitLayer};

pub(crate) struct Measured {
    pub(crate) registry: Registry,
    server: MetricsLayer,
    client: MetricsLayer,
    /// Without room for any operation.
    full: MetricsLayer,
    /// Rejects all calls but the first, since its time stands still.
    limit: RateLimitLayer,
    lost: Arc<AtomicU64>,
    runtime: Runtime,
}

impl Measured {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let layer = MetricsLayer::new().registry(registry.clone());
        let layer = layer.time_to_head().body_sizes(Buckets::bytes());
        let lost = Arc::new(AtomicU64::new(0));
        let count = lost.clone();
        let read = move || count.load(Ordering::Relaxed);
        let (name, labels) = ("telemetry_lost_total", [("what", "spans")]);
        registry
            .observable_counter(name, "", &labels, read)
            .unwrap();
        let quota = Quota::per_second(1).unwrap();
        let (clock, _hand) = Clock::manual();
        Self {
            server: layer.clone(),
            client: layer.clone().client(),
            full: layer.max_operations(0),
            limit: RateLimitLayer::new(quota).clock(clock),
            lost,
            runtime: Builder::new_current_thread().build().unwrap(),
            registry,
        }
    }

    /// Lets everything happen once more, in a trace that is recorded.
    pub(crate) fn happen(&self) {
        events(&self.registry);
        self.lost.fetch_add(1, Ordering::Relaxed);
        let ids = TraceIds {
            trace: [0xab; 16],
            span: [0xcd; 8],
            flags: TraceIds::SAMPLED,
        };
        TraceIds::enter(Some(ids), || self.runtime.block_on(self.calls()));
    }

    async fn calls(&self) {
        for layer in [&self.server, &self.client] {
            self.http_and_grpc(layer).await;
        }
        call(self.full.clone().http().layer(service_fn(answer)), "/200").await;
        let policies = || stack((self.server.clone(), self.limit.clone())).plain("uppercase");
        let succeeds = service_fn(async |()| Ok::<_, BoxError>(()));
        // The limit has admitted its call by now.
        let rejected = policies().layer(succeeds).oneshot(()).await;
        assert!(rejected.is_err_and(|error| error.rejection().is_some()));
        let fails = service_fn(async |()| Err::<(), BoxError>("no".into()));
        let plain = self.server.clone().plain("uppercase");
        assert!(plain.layer(fails).oneshot(()).await.is_err());
    }

    async fn http_and_grpc(&self, layer: &MetricsLayer) {
        let policies = || stack((layer.clone(), self.limit.clone()));
        let http = || layer.clone().http().layer(service_fn(answer));
        for path in ["/200", "/404", "/500"] {
            call(http(), path).await;
        }
        let grpc = || layer.clone().grpc().layer(service_fn(answer_grpc));
        for path in ["/shop.Orders/0", "/shop.Orders/3", "/shop.Orders/13"] {
            call(grpc(), path).await;
        }
        for _ in 0..2 {
            call(policies().http().layer(service_fn(answer)), "/200").await;
        }
        let policies = policies().grpc().layer(service_fn(answer_grpc));
        call(policies, "/shop.Orders/0").await;
    }
}

/// What the last part of a path says.
fn code(request: &Request<()>) -> u16 {
    let path = request.uri().path();
    path.rsplit('/').next().unwrap().parse().unwrap()
}

async fn answer(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("body"));
    *response.status_mut() = StatusCode::from_u16(code(&request)).unwrap();
    Ok(response)
}

async fn answer_grpc(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder().header("content-type", "application/grpc");
    let response = response.header("grpc-status", code(&request));
    Ok(response.body(Full::from("body")).unwrap())
}

async fn call<S, B>(service: S, path: &str)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let request = Request::post(path).header("content-length", 4);
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// Every kind of event, and a circuit that opens, closes and opens again.
fn events(sink: &impl EventSink) {
    let name = "stock";
    let change = |from, to| Event::CircuitChanged {
        name: name.into(),
        from,
        to,
    };
    let changes = [
        change("closed", "open"),
        change("open", "half_open"),
        change("half_open", "closed"),
    ];
    for event in changes.into_iter().chain(towerkit_test::all_events(name)) {
        sink.emit(&event);
    }
}
