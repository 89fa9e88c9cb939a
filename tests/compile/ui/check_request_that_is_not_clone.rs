//! `.oneshot(..)` is E0599: a plain request that is retried must be `Clone`.

use tower::{BoxError, ServiceBuilder, service_fn};
use towerkit::core::{LayerExt, check};
use towerkit::retry::RetryLayer;

struct Order;

fn main() {
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new().plain("order"))
        .service(service_fn(async |_: Order| Ok::<_, BoxError>(())));
    check::<Order, _>(&service);
}
