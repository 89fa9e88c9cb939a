//! A front and a backend that have every layer, and log what they should not.

use std::{future::pending, io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, Uri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use towerkit_cache::{CacheLayer, Capacity, Lifetime};
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};
use towerkit_core::{Event, EventSink, stack};
use towerkit_fallback::FallbackLayer;
use towerkit_hedge::HedgeLayer;
use towerkit_http::{HttpExt, RequestKey};
use towerkit_log::{EventLog, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{ByHeader, KeyedRateLimitLayer, Quota};
use towerkit_ratelimit_redis::{RedisRateLimitLayer, redis};
use towerkit_retry::RetryLayer;
use towerkit_timeout::{DeadlineInjectLayer, DeadlineLayer, TimeoutLayer};
use towerkit_trace::TraceLayer;
use tracing::{error, info, warn};

use super::secrets::{CANARY, Outputs, cookie, query, url};

const SECOND: Duration = Duration::from_secs(1);

/// Both places to which events go.
fn events(registry: &Registry) -> impl EventSink + 'static {
    let (log, registry) = (EventLog::new(), registry.clone());
    move |event: &Event| {
        log.emit(event);
        registry.emit(event);
    }
}

type Backend = BoxCloneSyncService<Request, Response, BoxError>;

/// A client with every layer that a client may have.
fn client(registry: &Registry, outputs: &mut Outputs) -> Backend {
    let log = LogLayer::new().name("backend");
    let metrics = MetricsLayer::new().client().registry(registry.clone());
    let retry = RetryLayer::new()
        .attempts(2)
        .unwrap()
        .events(events(registry));
    let hedge = HedgeLayer::after(SECOND).unwrap().events(events(registry));
    let breaker = CircuitBreakerLayer::new()
        .open_when(OpenWhen::consecutive_failures(4).unwrap())
        .events(events(registry));
    let fallback = FallbackLayer::function(|answer, _: &towerkit_core::CallEnd| answer)
        .events(events(registry));
    let trace = TraceLayer::client().baggage();
    outputs.debug("trace", &trace);
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
    ] {
        let recorded = TraceLayer::server().record_headers(&[name]);
        assert!(recorded.is_err(), "{name} would be shown");
    }
    outputs.debug("log", &(&log, log.handle()));
    outputs.debug("metrics", &(&metrics, metrics.handle()));
    outputs.debug("retry", &(&retry, retry.handle()));
    outputs.debug("hedge", &(&hedge, hedge.handle()));
    outputs.debug("breaker", &(&breaker, breaker.handle()));
    outputs.debug("fallback", &fallback.handle());
    let pool: Client<HttpConnector, _> = Client::builder(TokioExecutor::new()).build_http();
    let service = ServiceBuilder::new()
        .layer(stack((TraceLayer::internal(), log, metrics)).http())
        .map_response(IntoResponse::into_response)
        .layer(fallback.http())
        .map_response(IntoResponse::into_response)
        .layer(retry.http())
        .layer(hedge.http())
        .layer(breaker.http())
        .layer(TimeoutLayer::new(SECOND).unwrap().http())
        .layer(trace.http())
        .layer(DeadlineInjectLayer::new().http())
        .service(pool);
    BoxCloneSyncService::new(
        service
            .map_response(IntoResponse::into_response)
            .map_err(BoxError::from),
    )
}

#[derive(Clone)]
struct Shop {
    backend: Backend,
    host: String,
}

impl Shop {
    /// Passes the request on, credentials and all.
    async fn pass_on(self, path: &str, headers: HeaderMap) -> Response {
        let url = format!("{}{path}?{}", url("http", &self.host), query());
        let mut request = Request::get(url).body(Body::empty()).unwrap();
        *request.headers_mut() = headers;
        info!(headers = ?shown(request.headers()), uri = ?request.uri(), "asking the backend");
        match self.backend.oneshot(request).await {
            Ok(response) => {
                info!(headers = ?response.headers(), "the backend answered");
                response
            }
            Err(error) => {
                error!(error = &*error, "the backend failed");
                StatusCode::BAD_GATEWAY.into_response()
            }
        }
    }
}

/// All but the baggage, which is no credential: an application that shows it means to.
fn shown(headers: &HeaderMap) -> HeaderMap {
    let mut shown = headers.clone();
    shown.remove("baggage");
    shown
}

/// What an application should not say, and does.
fn tell(headers: &HeaderMap, uri: &Uri) {
    let headers = &shown(headers);
    info!(headers = ?headers, uri = %uri, "asked");
    let authorization = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    warn!(
        authorization,
        api_key = CANARY,
        password = CANARY,
        "{:?}",
        headers
    );
    let failed = io::Error::other(format!("could not reach {}", url("postgres", "db/shop")));
    error!(
        error = &failed as &(dyn std::error::Error + 'static),
        url = url("https", "example.org"),
        "failed"
    );
    info!(
        body = format!(r#"{{"user":"ann","password":"{CANARY}"}}"#),
        "Authorization: Bearer {CANARY}"
    );
}

async fn item(State(shop): State<Shop>, uri: Uri, headers: HeaderMap) -> Response {
    tell(&headers, &uri);
    shop.pass_on("/stock", headers).await
}

async fn flaky(State(shop): State<Shop>, headers: HeaderMap) -> Response {
    shop.pass_on("/flaky", headers).await
}

/// The front: each route has a way to reject.
pub(crate) fn front(host: String, registry: &Registry, outputs: &mut Outputs) -> Router {
    let backend = client(registry, outputs);
    let quota = Quota::new(1, Duration::from_secs(3600)).unwrap();
    let keyed =
        KeyedRateLimitLayer::new(quota, ByHeader::new("authorization")).events(events(registry));
    let client = redis::Client::open(url("redis", "127.0.0.1:1")).unwrap();
    let redis = RedisRateLimitLayer::new(client, quota)
        .unwrap()
        .fail_closed()
        .events(events(registry));
    let timeout = TimeoutLayer::new(Duration::from_millis(20)).unwrap();
    let lifetime = Lifetime::new(SECOND).unwrap();
    let cache = CacheLayer::new(
        lifetime,
        Capacity::entries(10).unwrap(),
        RequestKey::for_anyone::<Body>,
    );
    outputs.debug("keyed rate limit", &(keyed.handle(), format!("{keyed:?}")));
    outputs.debug("redis rate limit", &(redis.handle(), format!("{redis:?}")));
    outputs.debug("timeout", &(&timeout, timeout.handle()));
    outputs.debug("cache", &(&cache, cache.handle()));
    let observers = (
        TraceLayer::server()
            .baggage()
            .record_headers(&["x-note", "accept"])
            .unwrap(),
        LogLayer::new(),
        MetricsLayer::new()
            .registry(registry.clone())
            .time_to_head(),
    );
    let limited = Router::new()
        .route("/limited", get(|| async {}))
        .layer(keyed.http());
    let shared = Router::new()
        .route("/shared", get(|| async {}))
        .layer(redis.http());
    let slow = Router::new()
        .route("/slow", get(pending::<()>))
        .layer(timeout.http());
    let cached = Router::new().route("/cached", get(|| async { [cookie()] }));
    let cached = cached.layer(
        ServiceBuilder::new()
            .map_response(move |response: Response<_>| response.map(Body::new))
            .layer(cache.http()),
    );
    Router::new()
        .route("/items/{id}", get(item))
        .route("/flaky", get(flaky))
        .with_state(Shop { backend, host })
        .merge(limited)
        .merge(shared)
        .merge(slow)
        .merge(cached)
        .layer(DeadlineLayer::new(60 * SECOND).unwrap().http())
        .layer(stack(observers).axum())
        .route_service("/metrics", registry.service())
}

/// The backend, which must have been given what it may know.
pub(crate) fn backend(registry: &Registry) -> Router {
    let stock = async |headers: HeaderMap| {
        assert!(headers["authorization"].to_str().unwrap().contains(' '));
        assert!(
            headers["baggage"].to_str().unwrap().contains(CANARY),
            "baggage is passed on"
        );
        ([cookie()], "three")
    };
    let flaky = async || (StatusCode::SERVICE_UNAVAILABLE, [cookie()]);
    let observers = (
        TraceLayer::server().baggage(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
    );
    Router::new()
        .route("/stock", get(stock))
        .route("/flaky", get(flaky))
        .layer(stack(observers).axum())
}
