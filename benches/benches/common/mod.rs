//! Drives the services of a divan benchmark.

use bytes::Bytes;
use divan::Bencher;
use http::Response;
use http_body::Body;
use tower::Service;
use towerkit_benches::{HttpRequest, call_http, call_plain};

/// Measures one call.
pub(crate) fn plain<S: Service<u64, Response = u64>>(bencher: Bencher<'_, '_>, mut service: S) {
    // What a first call does once, such as making its series, is no cost of a call.
    call_plain(&mut service);
    bencher.bench_local(|| call_plain(&mut service));
}

/// Measures one call and its body.
#[allow(dead_code, reason = "not every benchmark is about HTTP")]
pub(crate) fn http<S, B>(bencher: Bencher<'_, '_>, mut service: S)
where
    S: Service<HttpRequest, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    call_http(&mut service);
    bencher.bench_local(|| call_http(&mut service));
}
