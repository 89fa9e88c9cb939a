//! The peers alone, each over a plain inner service that is ready at once, or over HTTP where it knows nothing else.

mod common;

use axum::body::Body;
use divan::{AllocProfiler, Bencher};
use tower::Layer;
use towerkit_benches::{Ready, peers};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    let runtime = towerkit_benches::runtime();
    let _entered = runtime.enter();
    divan::main();
}

const READY: Ready = Ready::new();

mod rate_limit {
    use super::*;

    #[divan::bench]
    fn governor(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::governor(READY));
    }

    #[divan::bench]
    fn governor_standard_clock(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::governor_monotonic(READY));
    }

    #[divan::bench]
    fn tower(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::tower_rate_limit().layer(READY));
    }

    #[divan::bench]
    fn tower_resilience(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::tower_resilience_limiter().layer(READY));
    }

    #[divan::bench]
    fn http_tower_governor(bencher: Bencher<'_, '_>) {
        common::http(bencher, peers::tower_governor().layer(Ready::<Body>::new()));
    }
}

mod circuit_breaker {
    use super::*;

    #[divan::bench]
    fn recloser(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::recloser(READY));
    }

    #[divan::bench]
    fn failsafe(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::failsafe(READY));
    }

    #[divan::bench]
    fn tower_resilience(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::tower_resilience_breaker().layer(READY));
    }
}

mod timeout {
    use super::*;

    #[divan::bench]
    fn tower(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::tower_timeout().layer(READY));
    }

    #[divan::bench]
    fn http_tower_http(bencher: Bencher<'_, '_>) {
        common::http(bencher, peers::tower_http_timeout().layer(READY));
    }

    #[divan::bench]
    fn tower_resilience(bencher: Bencher<'_, '_>) {
        common::plain(bencher, peers::tower_resilience_timeout().layer(READY));
    }
}

mod metrics {
    use super::*;

    #[divan::bench]
    fn http_axum_prometheus(bencher: Bencher<'_, '_>) {
        common::http(bencher, peers::axum_prometheus().layer(READY));
    }
}
