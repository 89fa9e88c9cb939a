use std::time::Duration;

use tower::{Layer, hedge, layer::layer_fn};

/// Hedges every call.
#[derive(Debug, Clone, Copy)]
pub struct Every;

impl hedge::Policy<u64> for Every {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _request: &u64) -> bool {
        true
    }
}

/// Makes tower's hedge at the 95th percentile of ten seconds.
#[must_use]
pub fn tower_hedge<S: Clone + tower::Service<u64, Error: Into<tower::BoxError>>>()
-> impl Layer<S, Service = hedge::Hedge<S, Every>> {
    layer_fn(|inner| hedge::Hedge::new(inner, Every, 10, 0.95, Duration::from_secs(10)))
}
