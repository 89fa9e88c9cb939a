//! A window of time, of three buckets in models, in which results meet the turn of the ring.

use std::sync::Arc;

use loom::thread;

use super::{model, model_with};
use crate::{State, counts::Counts, epoch::Epoch, time_window::TimeWindow};

const EPOCH: Epoch = Epoch::FIRST;
const BUCKET: u64 = 10;
const WINDOW: u64 = 3 * BUCKET;

/// A window whose present bucket is the one that begins at [`WINDOW`].
fn window() -> Arc<TimeWindow> {
    let window = TimeWindow::new();
    window.reset(EPOCH);
    window.resize(WINDOW);
    window.counts(EPOCH, WINDOW);
    Arc::new(window)
}

fn counts(results: u64, marked: u64) -> Counts {
    Counts { results, marked }
}

#[test]
fn loom_results_of_one_moment_add_up() {
    model(|| {
        let window = window();
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(EPOCH, true, WINDOW)
        });
        window.record(EPOCH, false, WINDOW);
        window.record(EPOCH, true, WINDOW);
        other.join().unwrap();
        assert_eq!(window.counts(EPOCH, WINDOW), counts(3, 2));
    });
}

/// Whoever comes last sees everything, so that no opening is missed.
///
/// loom takes SeqCst for AcqRel, so that plain loads would show what cannot be.
#[test]
fn loom_one_of_two_results_sees_both() {
    model_with(true, || {
        let window = window();
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(EPOCH, true, WINDOW).unwrap()
        });
        let here = window.record(EPOCH, false, WINDOW).unwrap();
        let other = other.join().unwrap();
        assert!([here, other].contains(&counts(2, 1)), "{here:?} {other:?}");
    });
}

/// Results in the old bucket and in the new all count, and none of them twice.
#[test]
fn loom_a_turn_loses_nothing_and_counts_nothing_twice() {
    model(|| {
        let window = window();
        window.record(EPOCH, true, WINDOW);
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(EPOCH, true, WINDOW + BUCKET)
        });
        let here = window.record(EPOCH, true, WINDOW + BUCKET - 1);
        let seen = [here, other.join().unwrap()];
        for counts in seen.into_iter().flatten() {
            assert!(
                counts.results <= 3 && counts.marked <= counts.results,
                "{counts:?}"
            );
        }
        assert_eq!(window.counts(EPOCH, WINDOW + BUCKET), counts(3, 3));
        let later = window.counts(EPOCH, 2 * WINDOW);
        assert!(later == counts(1, 1) || later == counts(2, 2), "{later:?}");
    });
}

/// CB-09: what is older than the window is judged by no one, however the turn goes.
#[test]
fn loom_nobody_judges_by_what_is_forgotten() {
    model(|| {
        let window = window();
        window.record(EPOCH, true, WINDOW);
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(EPOCH, false, 3 * WINDOW)
        });
        let here = window.record(EPOCH, false, 3 * WINDOW);
        for seen in [here, other.join().unwrap()].into_iter().flatten() {
            assert_eq!(seen.marked, 0, "{seen:?}");
        }
        let left = window.counts(EPOCH, 3 * WINDOW);
        assert!(left == counts(1, 0) || left == counts(2, 0), "{left:?}");
    });
}

/// CB-04: a result of an old epoch neither counts in the new one nor takes one out of it.
#[test]
fn loom_a_stale_result_never_reaches_a_newer_window() {
    model(|| {
        let new = EPOCH.followed_by(State::Closed);
        let window = window();
        let stale = thread::spawn({
            let window = window.clone();
            move || window.record(EPOCH, true, WINDOW + BUCKET)
        });
        window.reset(new);
        window.record(new, true, WINDOW);
        stale.join().unwrap();
        assert_eq!(window.counts(new, WINDOW + BUCKET), counts(1, 1));
    });
}
