use std::time::Duration;

use axum::{
    body::Bytes,
    http::{Method, Uri},
};
use http_body_util::Full;
use tower::{Layer, ServiceBuilder};
use towerkit::{
    balance::{BalanceLayer, RoundRobin},
    circuitbreaker::CircuitBreakerLayer,
    core::{BoxError, stack},
    discovery::{Discovery, DiscoveryOptions, Instance, InstanceService, StaticInstances},
    endpoint::{Endpoint as RpcEndpoint, RpcError, RpcExt, endpoint},
    http::{HttpExt, OriginLayer},
    log::EventLog,
    ratelimit::{Quota, RateLimitLayer},
    retry::RetryLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
    transport_http::{Json, client},
};

use crate::{Args, CountResponse, StringRequest, UppercaseResponse};

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

/// The operations of the string service, which its instances answer one after the other.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Makes a string upper case.
    pub uppercase: RpcEndpoint<StringRequest, UppercaseResponse, RpcError>,
    /// Counts the bytes of a string.
    pub count: RpcEndpoint<StringRequest, CountResponse, RpcError>,
}

impl Upstream {
    /// Makes clients of the instances: a call has so many attempts, which take this time together.
    ///
    /// Each instance has a circuit breaker and a rate limit of its own: a call that they reject goes to the next instance, and so does
    /// a failed attempt.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of attempts or the time is out of range.
    pub fn new(discovery: &Discovery, attempts: u8, timeout: Duration) -> Result<Self, BoxError> {
        let quota = Quota::per_second(100)?;
        let http = towerkit::http::client::<Full<Bytes>>();
        let attempt_timeout = TimeoutLayer::new(timeout / 2)?.http_client();
        let endpoints = discovery.endpoints(move |instance| {
            let origin = OriginLayer::new(instance.address.to_string());
            let service = ServiceBuilder::new()
                .layer(attempt_timeout.clone())
                .layer(origin.expect("an address is an origin"))
                .service(http.clone());
            let guards = stack((CircuitBreakerLayer::new(), RateLimitLayer::new(quota)));
            InstanceService::new(service).guards(guards)
        });
        let retry = RetryLayer::new().attempts(attempts)?.idempotent();
        let http = ServiceBuilder::new()
            .layer(TraceLayer::client().http_client())
            .layer(retry.http_client())
            .layer(BalanceLayer::new(RoundRobin::new()).http_client())
            .service(endpoints);
        let timeout = TimeoutLayer::new(timeout)?.rpc();
        let uppercase = client(
            http.clone(),
            Method::POST,
            Uri::from_static("/uppercase"),
            Json,
        );
        let count = client(http, Method::POST, Uri::from_static("/count"), Json);
        Ok(Self {
            uppercase: endpoint(timeout.layer(uppercase)),
            count: endpoint(timeout.layer(count)),
        })
    }
}
