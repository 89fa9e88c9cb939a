//! `.oneshot(..)` is E0599: `.http()` is for HTTP requests.

use tower::{BoxError, ServiceBuilder, service_fn};
use towerkit::core::check;
use towerkit::http::HttpExt;
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(quota).http())
        .service(service_fn(async |n: u32| Ok::<_, BoxError>(2 * n)));
    check::<u32, _>(&service);
}
