use std::time::Duration;

use axum::{
    Router,
    routing::{get, get_service},
};
use flags::AuthScheme;
use http::StatusCode;
use tonic_reflection::server::Builder as ReflectionBuilder;
use tower::{Layer, ServiceBuilder};
use towerkit::{
    circuitbreaker::CircuitBreakerLayer,
    core::{BoxError, ConfigError, stack},
    endpoint::RpcExt,
    http::{HttpExt, Problem},
    log::LogLayer,
    metrics::{MetricsLayer, Registry},
    ratelimit::{Quota, RateLimitLayer},
    retry::RetryLayer,
    server::Health,
    timeout::{DeadlineLayer, TimeoutLayer},
    trace::TraceLayer,
    transport_grpc::MessageLimitLayer,
};

use crate::{
    Endpoints,
    over_grpc::GrpcAdd,
    over_http, over_jsonrpc,
    pb::{
        FILE_DESCRIPTOR_SET,
        add_server::{AddServer, SERVICE_NAME},
    },
};

/// The options of the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Calls per second of each operation.
    pub rate: u32,
    /// The time that a call may take.
    pub timeout: Duration,
    /// Sends errors in go-kit's form.
    pub go_kit_errors: bool,
    /// The authentication of callers; without one, anyone may call.
    pub auth: Option<AuthScheme>,
}

/// Puts the layers of one operation around each endpoint: a rate limit.
///
/// # Errors
///
/// Returns a [`ConfigError`] for a rate of zero.
pub fn server_layers(endpoints: Endpoints, options: &Options) -> Result<Endpoints, ConfigError> {
    let quota = Quota::per_second(options.rate)?;
    Ok(endpoints.layer(|| RateLimitLayer::new(quota).rpc()))
}

/// Puts the layers of a client around each endpoint: a retry, a circuit breaker for each operation, and a timeout for each attempt.
///
/// Both operations are idempotent.
///
/// # Errors
///
/// Returns a [`ConfigError`] if `timeout` is zero or more than 365 days.
pub fn client_layers(endpoints: Endpoints, timeout: Duration) -> Result<Endpoints, ConfigError> {
    let timeout = TimeoutLayer::new(timeout)?;
    Ok(endpoints.layer(|| {
        ServiceBuilder::new()
            .layer(RetryLayer::new().idempotent().rpc())
            .layer(CircuitBreakerLayer::new().rpc())
            .layer(timeout.clone().rpc())
            .into_inner()
    }))
}

/// Makes the application for HTTP, inside of the layers that see every call.
///
/// # Errors
///
/// Returns an error if the timeout is zero or more than 365 days, or if the file of the authentication cannot be read.
pub fn http_app(
    endpoints: Endpoints,
    options: &Options,
    registry: &Registry,
) -> Result<Router, BoxError> {
    let routes = over_http::http_routes(endpoints, options.go_kit_errors);
    let problem = |status| async move { Problem::new(status).respond::<axum::body::Body>() };
    let routes = routes
        .method_not_allowed_fallback(move || problem(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(move || problem(StatusCode::NOT_FOUND));
    let operator = Router::new()
        .route("/metrics", get_service(registry.service()))
        .route("/healthz", get("ok\n"));
    Ok(observed(routes, options, registry)?.merge(operator))
}

/// The largest message over gRPC, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Makes the application for gRPC, inside of the layers that see every call.
///
/// Outside of them are [`grpc.health.v1`](https://github.com/grpc/grpc/blob/master/doc/health-checking.md), with the state of the server,
/// and [server reflection](https://github.com/grpc/grpc/blob/master/doc/server-reflection.md).
///
/// # Errors
///
/// As [`http_app`].
pub fn grpc_app(
    endpoints: Endpoints,
    options: &Options,
    registry: &Registry,
    health: &Health,
) -> Result<Router, BoxError> {
    let add = GrpcAdd {
        endpoints,
        go_kit_errors: options.go_kit_errors,
    };
    // tonic ends a call over its own limit with `OUT_OF_RANGE`; the layer ends it with `RESOURCE_EXHAUSTED`.
    let add = AddServer::new(add).max_decoding_message_size(usize::MAX);
    let add = MessageLimitLayer::new(MAX_MESSAGE).layer(add);
    let routes = Router::new().route_service("/pb.Add/{*method}", add);
    let health = health.grpc_service([SERVICE_NAME]);
    let reflection = ReflectionBuilder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let operator = Router::new()
        .route_service("/grpc.health.v1.Health/{*method}", health)
        .route_service("/grpc.reflection.v1.ServerReflection/{*method}", reflection);
    Ok(observed(routes, options, registry)?.merge(operator))
}

/// Puts the layers around routes that must see every call. The timeout ends the reading of a body, too.
fn observed(routes: Router, options: &Options, registry: &Registry) -> Result<Router, BoxError> {
    let policies = stack((
        TraceLayer::server(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        DeadlineLayer::new(options.timeout)?,
    ));
    let layers = ServiceBuilder::new()
        .layer(policies.axum())
        .layer(TimeoutLayer::new(options.timeout)?.http());
    Ok(authenticated(routes, options)?.layer(layers))
}

/// Puts the authentication inside of the layers that see every call, if there is one.
fn authenticated(routes: Router, options: &Options) -> Result<Router, BoxError> {
    Ok(match &options.auth {
        Some(scheme) => routes.layer(scheme.layer("addsvc")?.axum()),
        None => routes,
    })
}

/// Makes the application for JSON-RPC: `POST /rpc`. The layers see each call of a batch; a batch is authenticated as a whole.
///
/// # Errors
///
/// Returns an error if the timeout is zero or more than 365 days, or if the file of the authentication cannot be read.
pub fn json_rpc_app(
    endpoints: Endpoints,
    options: &Options,
    registry: &Registry,
) -> Result<Router, BoxError> {
    let policies = stack((
        TraceLayer::server(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        DeadlineLayer::new(options.timeout)?,
    ));
    let methods = over_jsonrpc::methods(endpoints).layer(policies.rpc());
    let timeout = TimeoutLayer::new(options.timeout)?;
    let routes = Router::new().route_service("/rpc", methods);
    Ok(authenticated(routes, options)?.layer(timeout.http()))
}
