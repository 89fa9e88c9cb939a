//! A layer inside of `stack((..))` has a protocol of its own.

use towerkit::core::stack;
use towerkit::http::HttpExt;
use towerkit::metrics::MetricsLayer;
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let _layer = stack((MetricsLayer::new().http(), RateLimitLayer::new(quota))).http();
}
