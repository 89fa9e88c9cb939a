//! `.http()` or `.plain("operation")` is missing.

use axum::Router;
use towerkit::metrics::MetricsLayer;

fn main() {
    let _app: Router = Router::new().layer(MetricsLayer::new());
}
