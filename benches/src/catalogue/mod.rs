//! What is measured.

mod balance;
mod breaker;
mod concurrency;
mod contention;
mod endpoint;
mod hedge;
mod limit;
mod log;
mod metrics;
mod retry;
mod router;
mod stack;
mod timeout;
mod trace;

use bytes::Bytes;
use http_body_util::Full;

use crate::{Late, Ready, Visit};

/// Shows `visit` every case: each layer of towerkit and its peers, plain and over HTTP, over both inner services.
///
/// The peers' cases need a tokio runtime to be entered.
pub fn catalogue(visit: &mut impl Visit) {
    over_ready(visit);
    over_late(visit);
    by_keys(visit, &Ready::<Full<Bytes>>::new());
    contended(visit, &Ready::<Full<Bytes>>::new());
    around_routes(visit);
    endpoint::plain(visit);
    endpoint::json(visit);
    // Comes last: where a subscriber has been, tracing is never quite as cheap again.
    let (inner, way) = (Ready::<Full<Bytes>>::new(), "ready at once");
    log::json(visit, inner.clone(), way);
    trace::not_sampled_plain(visit, inner.clone(), way);
    trace::not_sampled(visit, inner.clone(), way);
    trace::sampled(visit, inner, way);
    router::trace_and_line(visit);
}

/// The inner service answers at once, and the compiler sees through it.
fn over_ready(visit: &mut impl Visit) {
    let (inner, way) = (Ready::<Full<Bytes>>::new(), "ready at once");
    limit::plain(visit, inner.clone(), way);
    limit::keyed(visit, inner.clone(), way);
    limit::http(visit, inner.clone(), way);
    limit::axum(visit, Ready::new(), way);
    balance::plain(visit, &inner, way);
    breaker::plain(visit, inner.clone(), way);
    breaker::http(visit, inner.clone(), way);
    concurrency::plain(visit, inner.clone(), way);
    concurrency::http(visit, inner.clone(), way);
    retry::plain(visit, inner.clone(), way);
    hedge::plain(visit, inner.clone(), way);
    timeout::plain(visit, inner.clone(), way);
    timeout::http(visit, inner.clone(), way);
    metrics::plain(visit, inner.clone(), way);
    metrics::http(visit, inner.clone(), way);
    stack::plain(visit, inner.clone(), way);
    log::off(visit, inner.clone(), way);
    stack::http(visit, inner, way);
}

/// The inner service is pending once, and opaque.
fn over_late(visit: &mut impl Visit) {
    let (inner, way) = (Late::<Full<Bytes>>::new(), "opaque, pending once");
    limit::plain(visit, inner.clone(), way);
    limit::keyed(visit, inner.clone(), way);
    limit::http(visit, inner.clone(), way);
    breaker::plain(visit, inner.clone(), way);
    breaker::http(visit, inner.clone(), way);
    concurrency::plain(visit, inner.clone(), way);
    concurrency::http(visit, inner.clone(), way);
    retry::plain(visit, inner.clone(), way);
    hedge::plain(visit, inner.clone(), way);
    timeout::plain(visit, inner.clone(), way);
    timeout::http(visit, inner.clone(), way);
    metrics::plain(visit, inner.clone(), way);
    metrics::http(visit, inner.clone(), way);
    stack::plain(visit, inner.clone(), way);
    stack::http(visit, inner, way);
}

/// Every call has another of many keys.
fn by_keys(visit: &mut impl Visit, inner: &Ready) {
    for keys in [1_000, 10_000, 100_000, 1_000_000] {
        limit::random_keys(visit, inner.clone(), keys);
    }
}

/// The routes of an axum application.
fn around_routes(visit: &mut impl Visit) {
    router::limit(visit);
    router::breaker(visit);
    router::concurrency(visit);
    router::timeout(visit);
    router::metrics(visit);
    router::stack_of_six(visit);
}

/// Two threads call services of one layer.
fn contended(visit: &mut impl Visit, inner: &Ready) {
    contention::limit(visit, inner.clone());
    contention::breaker(visit, inner.clone());
    contention::metrics(visit, inner.clone());
    balance::contended(visit, inner);
}
