//! The error type of the service cannot carry a rejection.

use tower::{Service, ServiceBuilder};
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn serve(_service: impl Service<u32>) {}

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(quota))
        .service_fn(|n: u32| async move { Ok::<u32, std::io::Error>(n) });
    serve(service);
}
