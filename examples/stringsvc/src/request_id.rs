use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use axum::http::Request;
use tower_http::request_id::MakeRequestId;
use tower_http::request_id::RequestId;

/// Numbers requests from a random start, so that two instances hardly ever use the same number.
///
/// tower-http's own ids are UUIDs. They ask the system for random numbers at each request, which costs more than log, metrics, limit and
/// timeout together.
#[derive(Debug, Clone)]
pub(crate) struct RequestIds(Arc<AtomicU64>);

impl RequestIds {
    pub(crate) fn new() -> Self {
        let start = RandomState::new().hash_one("start");
        Self(Arc::new(AtomicU64::new(start)))
    }
}

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _request: &Request<B>) -> Option<RequestId> {
        // Relaxed: only the numbers matter, not their order.
        let id = self.0.fetch_add(1, Ordering::Relaxed);
        Some(RequestId::new(id.into()))
    }
}
