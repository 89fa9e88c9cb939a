//! One thread, and two, that call services of one layer. The time is that of a thousand calls.

use divan::{AllocProfiler, Bencher};
use tower::{Layer, Service};
use towerkit_benches::{Ready, call_plain, ours};
use towerkit_core::{Clock, LayerExt};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn shared<S>(bencher: Bencher<'_, '_>, mut service: S)
where
    S: Service<u64, Response = u64> + Clone + Send + Sync,
{
    // What a first call does once, such as making its series, is no cost of a call.
    call_plain(&mut service);
    bencher
        .with_inputs(|| service.clone())
        .bench_values(|mut service| {
            for _ in 0..1000 {
                call_plain(&mut service);
            }
        });
}

const READY: Ready = Ready::new();

#[divan::bench(threads = [1, 2])]
fn rate_limit(bencher: Bencher<'_, '_>) {
    shared(bencher, ours::rate_limit(Clock::fast()).layer(READY));
}

#[divan::bench(threads = [1, 2])]
fn rate_limit_leaked(bencher: Bencher<'_, '_>) {
    shared(bencher, ours::rate_limit(Clock::fast()).leak().layer(READY));
}

#[divan::bench(threads = [1, 2])]
fn circuit_breaker(bencher: Bencher<'_, '_>) {
    shared(bencher, ours::circuit_breaker(Clock::fast()).layer(READY));
}

#[divan::bench(threads = [1, 2])]
fn circuit_breaker_leaked(bencher: Bencher<'_, '_>) {
    shared(
        bencher,
        ours::circuit_breaker(Clock::fast()).leak().layer(READY),
    );
}

#[divan::bench(threads = [1, 2])]
fn metrics(bencher: Bencher<'_, '_>) {
    shared(
        bencher,
        ours::metrics(Clock::fast()).plain("double").layer(READY),
    );
}

#[divan::bench(threads = [1, 2])]
fn policies(bencher: Bencher<'_, '_>) {
    shared(
        bencher,
        ours::policies(Clock::fast()).plain("double").layer(READY),
    );
}
