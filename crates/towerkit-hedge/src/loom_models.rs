//! Models for loom: every interleaving of a few threads, with at most three preemptions.

use loom::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::{
    allowance::{Allowance, CapRates},
    histogram::Histogram,
};

const HALF: u64 = 100;

fn spawn<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    thread::spawn(run)
}

/// HG-02
#[test]
fn loom_one_hedge_is_taken_once() {
    loom::model(|| {
        let allowance = Arc::new(Allowance::new(CapRates::new(0.5, 1).unwrap()));
        let other = spawn({
            let allowance = allowance.clone();
            move || allowance.take()
        });
        let here = allowance.take();
        assert_eq!(usize::from(here) + usize::from(other.join().unwrap()), 1);
    });
}

/// What two calls pay in while a hedge is taken and given back is all there.
#[test]
fn loom_no_deposit_is_lost_or_counted_twice() {
    loom::model(|| {
        let allowance = Arc::new(Allowance::new(CapRates::new(1.0, 4).unwrap()));
        (0..3).for_each(|_| assert!(allowance.take()));
        let other = spawn({
            let allowance = allowance.clone();
            move || {
                allowance.deposit();
                allowance.deposit();
            }
        });
        assert!(allowance.take());
        allowance.give_back();
        other.join().unwrap();
        assert_eq!(allowance.available(), 3);
    });
}

/// Two samples in a half that is over as both come: none is lost, and the one before is still there.
#[test]
fn loom_no_sample_is_lost_when_the_window_rotates() {
    loom::model(|| {
        let histogram = Arc::new(Histogram::with(2));
        histogram.record(0, HALF, 1);
        let other = spawn({
            let histogram = histogram.clone();
            move || histogram.record(HALF, HALF, 1)
        });
        histogram.record(HALF, HALF, 1);
        other.join().unwrap();
        let all = |minimum| histogram.quantile(HALF, HALF, 500_000, minimum);
        assert_eq!(all(3), Some(1));
        assert_eq!(all(4), None);
    });
}

/// A sample that is older than both halves is never counted, whoever turns first.
#[test]
fn loom_an_expired_sample_is_not_counted() {
    loom::model(|| {
        let histogram = Arc::new(Histogram::with(2));
        histogram.record(0, HALF, 1);
        let other = spawn({
            let histogram = histogram.clone();
            move || histogram.record(2 * HALF, HALF, 1)
        });
        histogram.record(2 * HALF, HALF, 0);
        other.join().unwrap();
        let all = |minimum| histogram.quantile(2 * HALF, HALF, 999_999, minimum);
        assert_eq!(all(2), Some(1));
        assert_eq!(all(3), None);
    });
}
