//! `.http()` is missing.

use axum::Router;
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let _app: Router = Router::new().layer(RateLimitLayer::new(quota));
}
