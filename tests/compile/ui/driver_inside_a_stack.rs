//! A driver, such as a timeout, is inside of `stack((..))`.

use std::time::Duration;

use towerkit::core::stack;
use towerkit::http::HttpExt;
use towerkit::metrics::MetricsLayer;
use towerkit::timeout::TimeoutLayer;

fn main() {
    let timeout = TimeoutLayer::new(Duration::from_secs(1)).unwrap();
    let _layer = stack((MetricsLayer::new(), timeout)).http();
}
