//! A [`TimeWindow`] of three buckets, with results recorded during a rotation.

use std::sync::Arc;

use loom::thread;

use super::{model, model_with};
use crate::{State, count_window::Counts, generation::Generation, time_window::TimeWindow};

const GENERATION: Generation = Generation::FIRST;
const BUCKET: u64 = 10;
const WINDOW: u64 = 3 * BUCKET;

/// Makes a window with a current bucket that starts at [`WINDOW`].
fn window() -> Arc<TimeWindow> {
    let window = TimeWindow::new();
    window.reset(GENERATION);
    window.resize(WINDOW);
    window.counts(GENERATION, WINDOW);
    Arc::new(window)
}

fn counts(results: u64, marked: u64) -> Counts {
    Counts { results, marked }
}

#[test]
fn loom_results_at_the_same_time_all_count() {
    model(|| {
        let window = window();
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(GENERATION, true, WINDOW)
        });
        window.record(GENERATION, false, WINDOW);
        window.record(GENERATION, true, WINDOW);
        other.join().unwrap();
        assert_eq!(window.counts(GENERATION, WINDOW), counts(3, 2));
    });
}

/// The last thread sees all results, so that no opening is missed.
///
/// loom treats SeqCst as AcqRel, so that plain loads would show impossible results.
#[test]
fn loom_one_of_two_results_sees_both() {
    model_with(true, || {
        let window = window();
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(GENERATION, true, WINDOW).unwrap()
        });
        let here = window.record(GENERATION, false, WINDOW).unwrap();
        let other = other.join().unwrap();
        assert!([here, other].contains(&counts(2, 1)), "{here:?} {other:?}");
    });
}

/// Results in the old bucket and in the new one count exactly once.
#[test]
fn loom_a_rotation_counts_each_result_once() {
    model(|| {
        let window = window();
        window.record(GENERATION, true, WINDOW);
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(GENERATION, true, WINDOW + BUCKET)
        });
        let here = window.record(GENERATION, true, WINDOW + BUCKET - 1);
        let seen = [here, other.join().unwrap()];
        for counts in seen.into_iter().flatten() {
            assert!(
                counts.results <= 3 && counts.marked <= counts.results,
                "{counts:?}"
            );
        }
        assert_eq!(window.counts(GENERATION, WINDOW + BUCKET), counts(3, 3));
        let later = window.counts(GENERATION, 2 * WINDOW);
        assert!(later == counts(1, 1) || later == counts(2, 2), "{later:?}");
    });
}

/// CB-09: results older than the window are never compared with a threshold, in any order of the rotation.
#[test]
fn loom_results_that_have_left_the_window_are_not_compared() {
    model(|| {
        let window = window();
        window.record(GENERATION, true, WINDOW);
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(GENERATION, false, 3 * WINDOW)
        });
        let here = window.record(GENERATION, false, 3 * WINDOW);
        for seen in [here, other.join().unwrap()].into_iter().flatten() {
            assert_eq!(seen.marked, 0, "{seen:?}");
        }
        let left = window.counts(GENERATION, 3 * WINDOW);
        assert!(left == counts(1, 0) || left == counts(2, 0), "{left:?}");
    });
}

/// CB-04: a result of an old generation neither counts in the new one nor removes a result from it.
#[test]
fn loom_a_stale_result_never_reaches_a_newer_window() {
    model(|| {
        let new = GENERATION.next(State::Closed);
        let window = window();
        let stale = thread::spawn({
            let window = window.clone();
            move || window.record(GENERATION, true, WINDOW + BUCKET)
        });
        window.reset(new);
        window.record(new, true, WINDOW);
        stale.join().unwrap();
        assert_eq!(window.counts(new, WINDOW + BUCKET), counts(1, 1));
    });
}
