use std::time::Duration;

use axum::http::{Method, Uri};
use http_body_util::Full;
use tower::ServiceBuilder;
use towerkit::{
    balance::{BalanceLayer, RoundRobin},
    circuitbreaker::CircuitBreakerLayer,
    core::{BoxError, stack},
    discovery::{Discovery, DiscoveryOptions, Instance, InstanceService, StaticInstances},
    endpoint::RpcExt,
    http::{HttpExt, OriginLayer},
    log::EventLog,
    ratelimit::{Quota, RateLimitLayer},
    retry::RetryLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
    transport_http::{Json, client},
};

use crate::{Args, Endpoint, StringRequest, UppercaseResponse};

/// The time that a call may take with all of its attempts.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The time of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// Finds the instances that answer `uppercase` in place of this process, if the flags name any.
///
/// # Errors
///
/// Returns an error if the registry is not compiled in, or if its address is invalid.
pub fn discover(args: &Args) -> Result<Option<Discovery>, BoxError> {
    let options = DiscoveryOptions::new()
        .name("strings")
        .events(EventLog::new())
        .development();
    if !args.proxy.is_empty() {
        let instances = args.proxy.iter().cloned().map(Instance::new);
        return Ok(Some(options.spawn(StaticInstances::new(instances))));
    }
    match &args.discover {
        Some(url) => Ok(Some(url.discover(options)?)),
        None => Ok(None),
    }
}

/// Makes the endpoint of `uppercase` that other instances answer, one after the other.
///
/// Each instance has a circuit breaker and a rate limit of its own: a call that they reject goes to the next instance, and so does a
/// failed attempt.
///
/// # Errors
///
/// Returns an error if a setting is invalid.
pub fn proxy(
    discovery: &Discovery,
) -> Result<impl Endpoint<StringRequest, Response = UppercaseResponse>, BoxError> {
    let quota = Quota::per_second(100)?;
    let http = towerkit::http::client::<Full<_>>();
    let attempt_timeout = TimeoutLayer::new(ATTEMPT_TIMEOUT)?.http_client();
    let endpoints = discovery.endpoints(move |instance| {
        let origin =
            OriginLayer::new(instance.address.to_string()).expect("an address is an origin");
        let service = ServiceBuilder::new()
            .layer(attempt_timeout.clone())
            .layer(origin)
            .service(http.clone());
        let guards = stack((CircuitBreakerLayer::new(), RateLimitLayer::new(quota)));
        InstanceService::new(service).guards(guards)
    });
    let upstream = ServiceBuilder::new()
        .layer(TraceLayer::client().http_client())
        .layer(RetryLayer::new().idempotent().http_client())
        .layer(BalanceLayer::new(RoundRobin::new()).http_client())
        .service(endpoints);
    let uppercase = client(upstream, Method::POST, Uri::from_static("/uppercase"), Json);
    Ok(ServiceBuilder::new()
        .layer(TimeoutLayer::new(TIMEOUT)?.rpc())
        .service(uppercase))
}
