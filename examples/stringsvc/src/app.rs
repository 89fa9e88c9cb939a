use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    routing::{get, get_service},
};
use tower::ServiceBuilder;
use tower_http::{propagate_header::PropagateHeaderLayer, set_header::SetRequestHeaderLayer};
use towerkit::{
    core::{BoxError, stack},
    http::HttpExt,
    log::LogLayer,
    metrics::{MetricsLayer, Registry},
    ratelimit::{Quota, RateLimitLayer},
    timeout::TimeoutLayer,
    trace::{Sampler, TraceLayer},
};

use crate::{
    Args,
    http::problem,
    request_id::{REQUEST_ID, RequestIds},
};

/// Puts the layers around `routes`, which are measured in `registry`, and adds the routes of the operator outside of every limit.
///
/// The layers are one [`Router::layer`], because axum boxes each call once for each of them.
///
/// # Errors
///
/// Returns an error if the rate, the burst, the share of traces or the timeout is invalid, or if the file of `--auth` cannot be read.
pub fn app(routes: Router, args: &Args, registry: &Registry) -> Result<Router, BoxError> {
    let quota = Quota::per_second(args.rate.get())?.burst(args.burst.get())?;
    let ids = RequestIds::new();
    let policies = stack((
        TraceLayer::server().sampler(sampler(args)?),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        RateLimitLayer::new(quota),
    ));
    let layers = ServiceBuilder::new()
        .layer(SetRequestHeaderLayer::if_not_present(
            REQUEST_ID,
            move |_: &Request| Some(ids.next()),
        ))
        .layer(PropagateHeaderLayer::new(REQUEST_ID))
        .layer(policies.axum())
        .layer(TimeoutLayer::new(args.timeout)?.http());
    let routes = match &args.auth {
        // Inside of the others, so that rejected callers are logged, counted and limited.
        Some(scheme) => routes.layer(scheme.layer("stringsvc")?.axum()),
        None => routes,
    };
    let routes = routes.layer(layers);
    // With its state given, axum makes the services of a router now and not for each connection.
    Ok(routes.merge(operator_routes(registry)).with_state(()))
}

/// Records traces if there is a collector. Without one, only the decision of a caller is kept.
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
