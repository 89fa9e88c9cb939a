//! The policy stack of all policies there are, as one layer.

mod common;

use divan::{AllocProfiler, Bencher};
use tower::Layer;
use towerkit_benches::{Late, Ready, ours};
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const READY: Ready = Ready::new();
const LATE: Late = Late::new();

#[divan::bench]
fn plain_ready(bencher: Bencher<'_, '_>) {
    common::plain(
        bencher,
        ours::policies(Clock::monotonic())
            .plain("double")
            .layer(READY),
    );
}

#[divan::bench]
fn plain_ready_fast_clock(bencher: Bencher<'_, '_>) {
    common::plain(
        bencher,
        ours::policies(Clock::fast()).plain("double").layer(READY),
    );
}

#[divan::bench]
fn plain_late_fast_clock(bencher: Bencher<'_, '_>) {
    common::plain(
        bencher,
        ours::policies(Clock::fast()).plain("double").layer(LATE),
    );
}

#[divan::bench]
fn http_ready(bencher: Bencher<'_, '_>) {
    common::http(
        bencher,
        ours::policies(Clock::monotonic()).http().layer(READY),
    );
}

#[divan::bench]
fn http_ready_fast_clock(bencher: Bencher<'_, '_>) {
    common::http(bencher, ours::policies(Clock::fast()).http().layer(READY));
}

#[divan::bench]
fn http_late_fast_clock(bencher: Bencher<'_, '_>) {
    common::http(bencher, ours::policies(Clock::fast()).http().layer(LATE));
}
