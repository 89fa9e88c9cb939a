//! Changes of the quota while calls go on.

use std::sync::atomic::{AtomicBool, Ordering};

use tower::{Layer, ServiceExt};
use towerkit_core::Clock;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_test::{Action, Probe};

fn quota(burst: u32) -> Quota {
    Quota::per_second(1).unwrap().burst(burst).unwrap()
}

#[tokio::test]
async fn a_change_of_the_quota_applies_to_existing_services() {
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(5)).clock(clock);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    service.clone().oneshot(Action::Succeed).await.unwrap();
    for (burst, available) in [(10, 4), (3, 3), (20, 3), (1, 1)] {
        handle.set_quota(quota(burst));
        assert_eq!(handle.snapshot().available, available);
        assert_eq!(handle.snapshot().quota, quota(burst));
    }
    service.clone().oneshot(Action::Succeed).await.unwrap();
    assert!(service.oneshot(Action::Succeed).await.is_err());
}

/// While the quota changes all the time, tokens are neither created nor lost. The bucket is not full at the start, since a full bucket
/// stays full.
#[test]
fn changes_under_load_create_no_tokens() {
    const TOKENS: u32 = 1_000_000;
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(quota(TOKENS)).clock(clock);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let runtime = || {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder.build().unwrap()
    };
    let first = runtime().block_on(service.clone().oneshot(Action::Succeed));
    assert!(first.is_ok());
    let done = AtomicBool::new(false);
    let admitted: u32 = std::thread::scope(|threads| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let service = service.clone();
                threads.spawn(move || {
                    runtime().block_on(async {
                        let mut admitted = 0;
                        for _ in 0..20_000 {
                            let call = service.clone().oneshot(Action::Succeed);
                            admitted += u32::from(call.await.is_ok());
                        }
                        admitted
                    })
                })
            })
            .collect();
        let (handle, done) = (handle.clone(), &done);
        threads.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                handle.set_quota(Quota::per_second(3).unwrap().burst(2 * TOKENS).unwrap());
                handle.set_quota(quota(TOKENS));
            }
        });
        let admitted = callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum();
        done.store(true, Ordering::Relaxed);
        admitted
    });
    assert_eq!(admitted, 40_000);
    let rest = TOKENS - admitted - 1;
    let left = handle.snapshot().available;
    // Each change may round a token away by a part of it that is too small to see.
    assert!(left <= rest && left > rest - 1000, "{left}");
}
