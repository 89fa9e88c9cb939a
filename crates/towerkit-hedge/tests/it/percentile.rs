//! A delay that follows the latency of recent calls.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use towerkit_hedge::{HedgeHandle, HedgeLayer, Percentile};
use towerkit_http::{Http, HttpExt};
use towerkit_test::tokio_clock;

use crate::{
    backend::{Backend, MS, reply},
    call, get,
};

fn percentile() -> Percentile {
    let percentile = Percentile::new(0.95).unwrap().between(MS, 1000 * MS);
    percentile.unwrap().window(Duration::from_secs(20)).unwrap()
}

fn layer(percentile: Percentile) -> (HedgeLayer<Http>, HedgeHandle) {
    let layer = HedgeLayer::at(percentile).clock(tokio_clock()).http();
    let handle = layer.handle();
    (layer, handle)
}

async fn call_times(layer: &HedgeLayer<Http>, after: Duration, calls: usize) {
    let backend = Backend::new([reply(after, 200)]);
    for _ in 0..calls {
        call(layer, &backend, get()).await.unwrap();
    }
}

/// Returns true within the error of the histogram and the resolution of a timer.
fn is_about(delay: Duration, expected: Duration) -> bool {
    (expected..=expected + expected / 16 + MS).contains(&delay)
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_the_maximum_until_there_are_enough_samples() {
    let (layer, handle) = layer(percentile().minimum_samples(10).unwrap());
    call_times(&layer, 10 * MS, 9).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(handle.snapshot().delay, 1000 * MS);
    call_times(&layer, 10 * MS, 1).await;
    sleep(Duration::from_secs(1)).await;
    assert!(is_about(handle.snapshot().delay, 10 * MS));
}

#[tokio::test(start_paused = true)]
async fn the_delay_follows_and_stays_within_its_bounds() {
    let (layer, handle) = layer(percentile().minimum_samples(20).unwrap());
    for (taken, expected) in [(10, 10), (200, 200), (0, 1), (2000, 1000)] {
        for _ in 0..40 {
            call_times(&layer, taken * MS, 50).await;
            sleep(Duration::from_secs(1)).await;
        }
        let delay = handle.snapshot().delay;
        assert!(is_about(delay, expected * MS), "{taken}: {delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn samples_expire() {
    let (layer, handle) = layer(percentile());
    call_times(&layer, 10 * MS, 200).await;
    sleep(Duration::from_secs(1)).await;
    assert!(is_about(handle.snapshot().delay, 10 * MS));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(handle.snapshot().delay, 1000 * MS);
}

/// Latencies of 1 to 96 ms are equally frequent, and a few are half a second, so that their hedges always win.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_lost_to_a_hedge_does_not_shorten_the_delay() {
    let (layer, handle) = layer(percentile());
    let layer = layer.cap(1.0, 1000).unwrap();
    let handle = (drop(handle), layer.handle()).1;
    for round in 0..60u32 {
        for call_number in 0..100u32 {
            let first = match 1 + (call_number * 37 + round * 13) % 100 {
                slow @ 97.. => 5 * slow,
                usual => usual,
            };
            let backend = Backend::new([reply(first * MS, 200), reply(MS, 200)]);
            call(&layer, &backend, get()).await.unwrap();
        }
        if round > 2 {
            let delay = handle.snapshot().delay;
            assert!(is_about(delay, 95 * MS), "{round}: {delay:?}");
        }
    }
    assert!(handle.snapshot().wins > 200);
}

/// Calls fail at once, or are cancelled early.
#[tokio::test(start_paused = true)]
async fn failed_attempts_do_not_shorten_the_delay() {
    let (layer, handle) = layer(percentile().minimum_samples(20).unwrap());
    let layer = layer.cap(0.01, 1).unwrap();
    let handle = (drop(handle), layer.handle()).1;
    for _ in 0..20 {
        call_times(&layer, 100 * MS, 5).await;
        let failing = Backend::new([reply(MS, 500)]);
        let slow = Backend::new([reply(100 * MS, 200)]);
        for _ in 0..100 {
            call(&layer, &failing, get()).await.unwrap();
            timeout(10 * MS, call(&layer, &slow, get()))
                .await
                .unwrap_err();
        }
    }
    let delay = handle.snapshot().delay;
    assert!(is_about(delay, 100 * MS), "{delay:?}");
}

/// Calls that are cancelled after the delay were slow, and increase it.
#[tokio::test(start_paused = true)]
async fn calls_that_were_cancelled_late_count_as_slow() {
    let (layer, handle) = layer(percentile());
    call_times(&layer, 10 * MS, 200).await;
    let hanging = Backend::new([reply(Duration::from_secs(9), 200)]);
    for _ in 0..50 {
        timeout(200 * MS, call(&layer, &hanging, get()))
            .await
            .unwrap_err();
    }
    sleep(Duration::from_secs(1)).await;
    let delay = handle.snapshot().delay;
    assert!(is_about(delay, 200 * MS), "{delay:?}");
}
