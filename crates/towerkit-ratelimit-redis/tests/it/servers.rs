//! The limit on real servers.

#[cfg(feature = "cluster")]
mod cluster;
mod limits;
mod outages;
mod script;
mod server;
#[cfg(feature = "tls")]
mod tls;

use std::future::{Ready, ready};

use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{BoxError, Call, Rejection};
use towerkit_ratelimit::Quota;
use towerkit_ratelimit_redis::{KeyOf, RedisRateLimitLayer};

type Answer = fn(String) -> Ready<Result<(), BoxError>>;

/// A service behind the layer whose requests are their keys, where the layer has keys.
pub(crate) fn service<K: KeyOf<String> + Send + Sync + 'static>(
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

fn who<'a>(call: &'a Call<'_, String>) -> Option<&'a str> {
    Some(call.request)
}

pub(crate) fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}
