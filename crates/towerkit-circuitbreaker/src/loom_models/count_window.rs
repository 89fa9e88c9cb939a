//! A [`CountWindow`] in which several threads record results.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::{State, count_window::CountWindow, generation::Generation};

fn window(size: u16, generation: Generation) -> Arc<CountWindow> {
    let window = CountWindow::new();
    window.reset(generation);
    window.resize(size, generation);
    Arc::new(window)
}

/// Results recorded at the same time all count once the threads have finished.
#[test]
fn loom_concurrent_results_all_count() {
    model(|| {
        let generation = Generation::FIRST;
        let window = window(2, generation);
        let other = thread::spawn({
            let window = window.clone();
            move || {
                window.record(generation, true);
                window.record(generation, false);
            }
        });
        window.record(generation, true);
        window.record(generation, true);
        other.join().unwrap();
        let counts = window.counts(generation);
        assert_eq!(counts.results, 2);
        assert_eq!(counts.marked, window.marked_cells(generation));
    });
}

/// The last thread sees all results, so that no opening is missed.
#[test]
fn loom_one_of_two_failures_sees_both() {
    model(|| {
        let generation = Generation::FIRST;
        let window = window(2, generation);
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(generation, true).unwrap().marked
        });
        let here = window.record(generation, true).unwrap().marked;
        assert_eq!(here.max(other.join().unwrap()), 2);
    });
}

/// CB-04: a result claimed before a reset neither counts in the new window nor removes a result from it.
#[test]
fn loom_a_stale_result_never_reaches_a_newer_window() {
    model(|| {
        let old = Generation::FIRST;
        let new = old.next(State::Closed);
        let window = window(1, old);
        let stale = thread::spawn({
            let window = window.clone();
            move || {
                window.record(old, true);
                window.record(old, false);
            }
        });
        window.reset(new);
        window.record(new, true);
        window.record(new, true);
        stale.join().unwrap();
        let counts = window.counts(new);
        assert_eq!((counts.results, counts.marked), (1, 1));
        assert_eq!(window.marked_cells(new), 1);
    });
}
