use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use axum::routing::get_service;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::propagate_header::PropagateHeaderLayer;
use tower_http::set_header::SetRequestHeaderLayer;
use towerkit::core::BoxError;
use towerkit::core::stack;
use towerkit::http::HttpExt;
use towerkit::log::LogLayer;
use towerkit::metrics::MetricsLayer;
use towerkit::metrics::Registry;
use towerkit::ratelimit::Quota;
use towerkit::ratelimit::RateLimitLayer;
use towerkit::timeout::TimeoutLayer;
use towerkit::trace::Sampler;
use towerkit::trace::TraceLayer;

use crate::Args;
use crate::http::problem;
use crate::request_id::REQUEST_ID;
use crate::request_id::RequestIds;

/// Puts the server stack around `routes`, which measures into `registry`, and beside it, outside of every limit, the routes of the
/// operator.
///
/// The stack is one [`Router::layer`], because axum boxes each call once for every one of them.
///
/// # Errors
///
/// If the rate, the burst, the share of traces or the timeout makes no sense.
pub fn app(routes: Router, args: &Args, registry: &Registry) -> Result<Router, BoxError> {
    let quota = Quota::per_second(args.rate.get())?.burst(args.burst.get())?;
    let ids = RequestIds::new();
    let policies = stack((
        TraceLayer::server().sampler(sampler(args)?),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        RateLimitLayer::new(quota),
    ));
    let server_stack = ServiceBuilder::new()
        .layer(SetRequestHeaderLayer::if_not_present(
            REQUEST_ID,
            move |_: &Request| Some(ids.next()),
        ))
        .layer(PropagateHeaderLayer::new(REQUEST_ID))
        .layer(policies.axum())
        .layer(TimeoutLayer::new(args.timeout)?.http())
        .layer(CatchPanicLayer::custom(|_| {
            problem(StatusCode::INTERNAL_SERVER_ERROR)
        }));
    let routes = routes.layer(server_stack);
    // With its state given, axum makes the services of a router now and not for every connection.
    Ok(routes.merge(operator_routes(registry)).with_state(()))
}

/// Where nobody takes spans no trace is begun; those that callers have begun are gone on with in any case.
fn sampler(args: &Args) -> Result<Sampler, BoxError> {
    match args.otlp {
        Some(_) => Ok(Sampler::ratio(args.sample)?),
        None => Ok(Sampler::never()),
    }
}

fn operator_routes(registry: &Registry) -> Router {
    Router::new()
        .route("/metrics", get_service(registry.service()))
        .route("/healthz", get("ok\n"))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED))
}
