//! Each layer of towerkit alone.

mod common;

use divan::{AllocProfiler, Bencher};
use tower::Layer;
use towerkit_benches::{Late, Ready, ours};
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    let runtime = towerkit_benches::runtime();
    let _entered = runtime.enter();
    divan::main();
}

/// A layer over the four inner services.
macro_rules! layer {
    ($name:ident, $layer:expr, $plain:expr, $http:expr) => {
        mod $name {
            use super::*;

            #[divan::bench]
            fn plain_ready(bencher: Bencher<'_, '_>) {
                common::plain(bencher, $plain($layer).layer(READY));
            }

            #[divan::bench]
            fn plain_late(bencher: Bencher<'_, '_>) {
                common::plain(bencher, $plain($layer).layer(LATE));
            }

            #[divan::bench]
            fn http_ready(bencher: Bencher<'_, '_>) {
                common::http(bencher, $http($layer).layer(READY));
            }

            #[divan::bench]
            fn http_late(bencher: Bencher<'_, '_>) {
                common::http(bencher, $http($layer).layer(LATE));
            }
        }
    };
}

const READY: Ready = Ready::new();
const LATE: Late = Late::new();

mod inner_service {
    use super::*;

    #[divan::bench]
    fn plain_ready(bencher: Bencher<'_, '_>) {
        common::plain(bencher, READY);
    }

    #[divan::bench]
    fn plain_late(bencher: Bencher<'_, '_>) {
        common::plain(bencher, LATE);
    }

    #[divan::bench]
    fn http_ready(bencher: Bencher<'_, '_>) {
        common::http(bencher, READY);
    }

    #[divan::bench]
    fn http_late(bencher: Bencher<'_, '_>) {
        common::http(bencher, LATE);
    }
}

fn named<L: LayerExt>(layer: L) -> L::With<towerkit_core::Plain> {
    layer.plain("double")
}

layer!(
    rate_limit,
    ours::rate_limit(Clock::monotonic()),
    named,
    HttpExt::http
);
layer!(
    rate_limit_fast_clock,
    ours::rate_limit(Clock::fast()),
    named,
    HttpExt::http
);
layer!(
    circuit_breaker,
    ours::circuit_breaker(Clock::monotonic()),
    named,
    HttpExt::http
);
layer!(timeout, ours::timeout(), named, HttpExt::http);
layer!(
    metrics,
    ours::metrics(Clock::monotonic()),
    named,
    HttpExt::http
);
layer!(
    metrics_fast_clock,
    ours::metrics(Clock::fast()),
    named,
    HttpExt::http
);
layer!(log_off, ours::log(Clock::monotonic()), named, HttpExt::http);
