use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use axum::http::HeaderName;
use axum::http::HeaderValue;

/// The header that bears the id of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Numbers requests from a random start, so that two instances hardly ever use the same number.
///
/// A random id for each request, as tower-http's `MakeRequestUuid` makes them, costs more than log, metrics and limit together.
#[derive(Debug, Clone)]
pub(crate) struct RequestIds(Arc<AtomicU64>);

impl RequestIds {
    pub(crate) fn new() -> Self {
        let start = RandomState::new().hash_one("start");
        Self(Arc::new(AtomicU64::new(start)))
    }

    pub(crate) fn next(&self) -> HeaderValue {
        // Relaxed: only the numbers matter, not their order.
        self.0.fetch_add(1, Ordering::Relaxed).into()
    }
}
