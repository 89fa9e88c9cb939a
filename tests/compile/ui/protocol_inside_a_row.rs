//! The protocol of a row is said once, for the row.

use towerkit::core::stack;
use towerkit::http::HttpExt;
use towerkit::metrics::MetricsLayer;
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let _row = stack((MetricsLayer::new().http(), RateLimitLayer::new(quota))).http();
}
