//! Models for [loom](https://docs.rs/loom), which runs every interleaving of a few threads with at most three preemptions.

use loom::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::{
    histogram::Histogram,
    token_bucket::{Cap, TokenBucket},
};

const INTERVAL: u64 = 100;

fn spawn<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    thread::spawn(run)
}

/// HG-02
#[test]
fn loom_one_token_is_withdrawn_once() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(Cap::new(0.5, 1).unwrap()));
        let other = spawn({
            let bucket = bucket.clone();
            move || bucket.withdraw()
        });
        let here = bucket.withdraw();
        assert_eq!(usize::from(here) + usize::from(other.join().unwrap()), 1);
    });
}

/// Two calls deposit while a hedge withdraws a token and refunds it.
#[test]
fn loom_no_deposit_is_lost_or_counted_twice() {
    loom::model(|| {
        let bucket = Arc::new(TokenBucket::new(Cap::new(1.0, 4).unwrap()));
        (0..3).for_each(|_| assert!(bucket.withdraw()));
        let other = spawn({
            let bucket = bucket.clone();
            move || {
                bucket.deposit();
                bucket.deposit();
            }
        });
        assert!(bucket.withdraw());
        bucket.refund();
        other.join().unwrap();
        assert_eq!(bucket.available(), 3);
    });
}

/// Two threads record a sample after the end of an interval: both are counted, and so is the sample of the previous interval.
#[test]
fn loom_no_sample_is_lost_when_the_window_rotates() {
    loom::model(|| {
        let histogram = Arc::new(Histogram::with_buckets(2));
        histogram.record(0, INTERVAL, 1);
        let other = spawn({
            let histogram = histogram.clone();
            move || histogram.record(INTERVAL, INTERVAL, 1)
        });
        histogram.record(INTERVAL, INTERVAL, 1);
        other.join().unwrap();
        let all = |minimum| histogram.quantile(INTERVAL, INTERVAL, 500_000, minimum);
        assert_eq!(all(3), Some(1));
        assert_eq!(all(4), None);
    });
}

/// A sample from before both intervals is not counted, whichever thread rotates first.
#[test]
fn loom_an_expired_sample_is_not_counted() {
    loom::model(|| {
        let histogram = Arc::new(Histogram::with_buckets(2));
        histogram.record(0, INTERVAL, 1);
        let other = spawn({
            let histogram = histogram.clone();
            move || histogram.record(2 * INTERVAL, INTERVAL, 1)
        });
        histogram.record(2 * INTERVAL, INTERVAL, 0);
        other.join().unwrap();
        let all = |minimum| histogram.quantile(2 * INTERVAL, INTERVAL, 999_999, minimum);
        assert_eq!(all(2), Some(1));
        assert_eq!(all(3), None);
    });
}
