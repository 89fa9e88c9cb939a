//! Tests against real servers.

#[cfg(feature = "cluster")]
mod cluster;
mod limits;
mod outages;
mod script;
mod server;
#[cfg(feature = "tls")]
mod tls;

use std::{
    fmt::Display,
    future::{Ready, ready},
};

use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{BoxError, Call, Rejection};
use towerkit_ratelimit::Quota;
use towerkit_ratelimit_redis::{KeyExtractor, RedisRateLimitLayer};

type Answer = fn(String) -> Ready<Result<(), BoxError>>;

/// Returns a service whose requests are their keys.
pub(crate) fn service<K: KeyExtractor<String, Key: Display> + Send + Sync + 'static>(
    layer: &RedisRateLimitLayer<K>,
) -> impl Service<String, Response = (), Error = BoxError, Future: Send> + Clone + Send + use<K> {
    let answer: Answer = |_| ready(Ok(()));
    layer.layer(service_fn(answer))
}

pub(crate) async fn call<S>(service: &S, key: &str) -> Result<(), Rejection>
where
    S: Service<String, Response = (), Error = BoxError> + Clone,
{
    let rejected = |error: BoxError| error.downcast_ref::<Rejection>().unwrap().clone();
    service.clone().oneshot(key.into()).await.map_err(rejected)
}

fn request_key(call: &Call<'_, String>) -> Option<String> {
    Some(call.request.clone())
}

pub(crate) fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}
