use axum::{
    Router,
    body::Body,
    routing::{get, get_service},
};
use flags::RegistryUrl;
use http::StatusCode;
use tonic::transport::Channel;
use tower::ServiceBuilder;
use towerkit::{
    balance::{BalanceLayer, P2c},
    circuitbreaker::CircuitBreakerLayer,
    core::{BoxError, stack},
    discovery::{Discovery, DiscoveryOptions, InstanceService},
    endpoint::RpcExt,
    http::{HttpExt, Problem},
    log::{EventLog, LogLayer},
    metrics::{MetricsLayer, Registry},
    retry::RetryLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::Args;

/// Makes the application: `/addsvc/sum`, `/addsvc/concat`, `/stringsvc/uppercase` and `/stringsvc/count`.
///
/// # Errors
///
/// Returns an error if a registry is not compiled in, or if its address is invalid.
pub fn app(args: &Args, registry: &Registry) -> Result<Router, BoxError> {
    let add = discover(&args.addsvc, "addsvc")?;
    let add = addsvc::http_routes(add_endpoints(&add, args)?, false);
    let strings = discover(&args.stringsvc, "stringsvc")?;
    let strings = stringsvc::Upstream::new(&strings, args.retry_max, args.retry_timeout)?;
    let problem = |status| async move { Problem::new(status).respond::<Body>() };
    let routes = Router::new()
        .nest("/addsvc", add)
        .nest(
            "/stringsvc",
            stringsvc::routes_to(strings.uppercase, strings.count),
        )
        .method_not_allowed_fallback(move || problem(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(move || problem(StatusCode::NOT_FOUND));
    let policies = stack((
        TraceLayer::server(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
    ));
    let operator = Router::new()
        .route("/metrics", get_service(registry.service()))
        .route("/healthz", get("ok\n"));
    Ok(routes.layer(policies.axum()).merge(operator).with_state(()))
}

/// Makes the endpoints of addsvc, each call of which goes to one of the instances over gRPC.
///
/// Both operations share the connection of an instance.
fn add_endpoints(discovery: &Discovery, args: &Args) -> Result<addsvc::Endpoints, BoxError> {
    let endpoints = discovery.endpoints(|instance| {
        let uri = format!("http://{}", instance.address);
        let channel = Channel::from_shared(uri).expect("an address is an authority");
        InstanceService::new(channel.connect_lazy()).guards(CircuitBreakerLayer::new())
    });
    let channel = ServiceBuilder::new()
        .layer(TraceLayer::client().grpc_client())
        .layer(
            RetryLayer::new()
                .attempts(args.retry_max)?
                .idempotent()
                .grpc_client(),
        )
        .layer(BalanceLayer::new(P2c::new()).grpc_client())
        .service(endpoints);
    let timeout = TimeoutLayer::new(args.retry_timeout)?;
    let endpoints = addsvc::grpc_client(channel)?;
    Ok(endpoints.layer(|| timeout.clone().rpc()))
}

fn discover(url: &RegistryUrl, name: &'static str) -> Result<Discovery, BoxError> {
    let options = DiscoveryOptions::new().name(name).events(EventLog::new());
    url.discover(options.development())
}
