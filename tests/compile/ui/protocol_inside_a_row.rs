//! The protocol of a policy stack is said once, for the policy stack.

use towerkit::core::stack;
use towerkit::http::HttpExt;
use towerkit::metrics::MetricsLayer;
use towerkit::ratelimit::{Quota, RateLimitLayer};

fn main() {
    let quota = Quota::per_second(10).unwrap();
    let _row = stack((MetricsLayer::new().http(), RateLimitLayer::new(quota))).http();
}
