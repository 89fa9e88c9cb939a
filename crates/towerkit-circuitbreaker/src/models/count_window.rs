//! The last results, recorded by several threads.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::{State, count_window::CountWindow, epoch::Epoch};

fn window(size: u16, epoch: Epoch) -> Arc<CountWindow> {
    let window = CountWindow::new();
    window.reset(epoch);
    window.resize(size, epoch);
    Arc::new(window)
}

/// Results that are recorded at the same moment all count, once the threads are through.
#[test]
fn loom_a_window_adds_up_after_concurrent_results() {
    model(|| {
        let epoch = Epoch::FIRST;
        let window = window(2, epoch);
        let other = thread::spawn({
            let window = window.clone();
            move || {
                window.record(epoch, true);
                window.record(epoch, false);
            }
        });
        window.record(epoch, true);
        window.record(epoch, true);
        other.join().unwrap();
        let counts = window.counts(epoch);
        assert_eq!(counts.results, 2);
        assert_eq!(counts.marked, window.marks_in_cells(epoch));
    });
}

/// Whoever comes last sees everything, so that no opening is missed.
#[test]
fn loom_one_of_two_failures_sees_both() {
    model(|| {
        let epoch = Epoch::FIRST;
        let window = window(2, epoch);
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(epoch, true).unwrap().marked
        });
        let here = window.record(epoch, true).unwrap().marked;
        assert_eq!(here.max(other.join().unwrap()), 2);
    });
}

/// CB-04: what was claimed before the window was emptied neither counts in the new one nor takes a result out of it.
#[test]
fn loom_a_stale_result_never_reaches_a_newer_window() {
    model(|| {
        let old = Epoch::FIRST;
        let new = old.followed_by(State::Closed);
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
        assert_eq!(window.marks_in_cells(new), 1);
    });
}
