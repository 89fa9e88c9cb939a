//! `.oneshot(..)` is E0599: the error type of the service cannot carry a rejection.

use tower::{ServiceBuilder, service_fn};
use towerkit::core::{LayerExt, check};
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(quota).plain("double"))
        .service(service_fn(async |n: u32| Ok::<_, String>(2 * n)));
    check::<u32, _>(&service);
}
