//! Models for loom: every interleaving of a few threads, with at most three preemptions.

use std::{
    num::NonZeroU16,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use loom::thread;
use towerkit_core::{Event, EventSink};

use crate::{
    Snapshot, State, Trip, Verdict, epoch::Epoch, machine::Machine, settings::Settings,
    sync::watched, window::Window,
};

type Changes = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

const OPEN_FOR: u64 = 10;

/// Checks a model twice, see [`watched`].
fn model(run: impl Fn() + Copy + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    for loads_count_as_writes in [false, true] {
        watched::LOADS_COUNT_AS_WRITES.set(loads_count_as_writes);
        builder.check(run);
    }
}

/// A breaker that opens at the first failure, and the list of its changes.
fn machine(probes: u16) -> (Arc<Machine>, Changes) {
    let changes = Changes::default();
    let seen = changes.clone();
    let sink: Arc<dyn EventSink> = Arc::new(move |event: &Event| {
        if let Event::CircuitChanged { from, to, .. } = event {
            seen.lock().unwrap().push((*from, *to));
        }
    });
    let machine = Machine::new(&Settings {
        trip: Trip::consecutive_failures(1).unwrap(),
        open_for: Duration::from_nanos(OPEN_FOR),
        probes: NonZeroU16::new(probes).unwrap(),
        sink: Some(sink),
        ..Settings::default()
    });
    (Arc::new(machine), changes)
}

/// Opens the breaker at time 0; at [`OPEN_FOR`] its time is over.
fn open(machine: &Machine) {
    let held = admit(machine).unwrap();
    machine.finish(held, Verdict::Failure, || 0);
}

fn admit(machine: &Machine) -> Option<Epoch> {
    machine.admit(|| OPEN_FOR).ok()
}

/// Sends one probe, checks that not more than `limit` are in flight, and ends it.
fn probe(machine: &Machine, in_flight: &AtomicU16, limit: u16, verdict: Verdict) -> bool {
    let Some(held) = admit(machine) else {
        return false;
    };
    if held.state() == State::HalfOpen {
        assert!(in_flight.fetch_add(1, Ordering::SeqCst) < limit);
        thread::yield_now();
        in_flight.fetch_sub(1, Ordering::SeqCst);
    }
    machine.finish(held, verdict, || OPEN_FOR);
    true
}

fn assert_is_path(changes: &Changes) {
    let changes = changes.lock().unwrap();
    assert!(
        changes.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{changes:?}"
    );
}

/// CB-01, CB-02: one slot, of which a cancelled probe leaves nothing behind.
#[test]
fn loom_one_probe_at_a_time_and_a_cancelled_one_gives_its_slot_back() {
    model(|| {
        let (machine, changes) = machine(1);
        let in_flight = Arc::new(AtomicU16::new(0));
        open(&machine);
        let other = thread::spawn({
            let (machine, in_flight) = (machine.clone(), in_flight.clone());
            move || probe(&machine, &in_flight, 1, Verdict::Ignored)
        });
        let succeeded = probe(&machine, &in_flight, 1, Verdict::Success);
        other.join().unwrap();
        if succeeded {
            assert_eq!(machine.state(), State::Closed);
        } else {
            assert_eq!(machine.snapshot().probes_in_flight, 0);
            assert!(probe(&machine, &in_flight, 1, Verdict::Success));
            assert_eq!(machine.state(), State::Closed);
        }
        assert_is_path(&changes);
    });
}

/// CB-01: the third finds no slot until the breaker is closed.
#[test]
fn loom_two_probes_close_once() {
    model(|| {
        let (machine, changes) = machine(2);
        let in_flight = Arc::new(AtomicU16::new(0));
        open(&machine);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (machine, in_flight) = (machine.clone(), in_flight.clone());
                thread::spawn(move || probe(&machine, &in_flight, 2, Verdict::Success))
            })
            .collect();
        let third = admit(&machine);
        let admitted = others
            .into_iter()
            .map(|other| other.join().unwrap())
            .filter(|admitted| *admitted)
            .count();
        if let Some(third) = third {
            machine.finish(third, Verdict::Success, || OPEN_FOR);
        }
        assert!(admitted + usize::from(third.is_some()) >= 2);
        assert_eq!(machine.state(), State::Closed);
        assert_eq!(
            *changes.lock().unwrap(),
            [
                ("closed", "open"),
                ("open", "half_open"),
                ("half_open", "closed")
            ]
        );
    });
}

/// CB-01: the failure of one probe and the success of the other meet.
#[test]
fn loom_a_failed_probe_reopens_whatever_the_others_say() {
    model(|| {
        let (machine, changes) = machine(2);
        open(&machine);
        let (one, other) = (admit(&machine).unwrap(), admit(&machine).unwrap());
        let failing = thread::spawn({
            let machine = machine.clone();
            move || machine.finish(one, Verdict::Failure, || OPEN_FOR)
        });
        machine.finish(other, Verdict::Success, || OPEN_FOR);
        failing.join().unwrap();
        assert_eq!(machine.state(), State::Open);
        assert_eq!(
            *changes.lock().unwrap(),
            [
                ("closed", "open"),
                ("open", "half_open"),
                ("half_open", "open")
            ]
        );
    });
}

/// CB-11: of two results that would open the breaker the later one changes nothing, not even the time.
#[test]
fn loom_two_trippers_open_once() {
    model(|| {
        let (machine, changes) = machine(1);
        let (one, other) = (admit(&machine).unwrap(), admit(&machine).unwrap());
        let first = thread::spawn({
            let machine = machine.clone();
            move || machine.finish(one, Verdict::Failure, || 0)
        });
        machine.finish(other, Verdict::Failure, || 7);
        first.join().unwrap();
        assert_eq!(*changes.lock().unwrap(), [("closed", "open")]);
        let left = machine.shut(|| 7).unwrap().0.unwrap().as_nanos() as u64;
        assert!(left == OPEN_FOR || left == OPEN_FOR - 7, "{left}");
    });
}

/// CB-04, CB-05: a straggler meets the change to half-open, and its failure or success changes nothing there.
#[test]
fn loom_a_straggler_does_not_touch_the_probes() {
    for verdict in [Verdict::Success, Verdict::Failure, Verdict::Ignored] {
        model(move || {
            let (machine, changes) = machine(1);
            let straggler = admit(&machine).unwrap();
            open(&machine);
            let late = thread::spawn({
                let machine = machine.clone();
                move || machine.finish(straggler, verdict, || OPEN_FOR)
            });
            let held = admit(&machine).unwrap();
            assert!(admit(&machine).is_none());
            late.join().unwrap();
            let expected = Snapshot {
                state: State::HalfOpen,
                results: 0,
                failures: 0,
                probes_in_flight: 1,
                probes_succeeded: 0,
            };
            assert_eq!(machine.snapshot(), expected);
            machine.finish(held, Verdict::Success, || OPEN_FOR);
            assert_eq!(machine.state(), State::Closed);
            assert_eq!(changes.lock().unwrap().len(), 3);
        });
    }
}

/// A call that is admitted as soon as the breaker closes finds the ledger ready for its result.
#[test]
fn loom_the_first_result_after_closing_counts() {
    model(|| {
        let (machine, changes) = machine(1);
        open(&machine);
        let held = admit(&machine).unwrap();
        let next = thread::spawn({
            let machine = machine.clone();
            move || {
                let next = admit(&machine)?;
                machine.finish(next, Verdict::Failure, || OPEN_FOR);
                Some(next)
            }
        });
        machine.finish(held, Verdict::Success, || OPEN_FOR);
        let next = next.join().unwrap();
        let expected = next.map_or(State::Closed, |_| State::Open);
        assert_eq!(machine.state(), expected);
        assert_is_path(&changes);
    });
}

/// CB-13, CB-17: an override meets the last probe.
#[test]
fn loom_an_override_holds_against_a_probe() {
    model(|| {
        let (machine, changes) = machine(1);
        open(&machine);
        let held = admit(&machine).unwrap();
        let forcing = thread::spawn({
            let machine = machine.clone();
            move || machine.force(State::ForcedOpen)
        });
        machine.finish(held, Verdict::Success, || OPEN_FOR);
        forcing.join().unwrap();
        assert_eq!(machine.state(), State::ForcedOpen);
        assert_is_path(&changes);
    });
}

/// Results that are recorded at the same moment all count, once the threads are through.
#[test]
fn loom_a_window_adds_up_after_concurrent_results() {
    model(|| {
        let epoch = Epoch::FIRST;
        let window = Arc::new(Window::new(2, epoch));
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
        let tally = window.tally();
        assert_eq!(tally.results(2), 2);
        assert_eq!(
            i32::from(tally.failures()),
            i32::from(window.failures_in_cells(epoch))
        );
    });
}

/// Whoever comes last sees everything, so that no opening is missed.
#[test]
fn loom_one_of_two_failures_sees_both() {
    model(|| {
        let epoch = Epoch::FIRST;
        let window = Arc::new(Window::new(2, epoch));
        let other = thread::spawn({
            let window = window.clone();
            move || window.record(epoch, true).unwrap().failures()
        });
        let here = window.record(epoch, true).unwrap().failures();
        assert_eq!(here.max(other.join().unwrap()), 2);
    });
}

/// CB-04: what was claimed before the window was emptied neither counts in the new one nor takes a result out of it.
#[test]
fn loom_a_stale_result_never_reaches_a_newer_window() {
    model(|| {
        let old = Epoch::FIRST;
        let new = old.followed_by(State::Closed);
        let window = Arc::new(Window::new(1, old));
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
        let tally = window.tally();
        assert_eq!((tally.results(1), tally.failures()), (1, 1));
        assert_eq!(window.failures_in_cells(new), 1);
    });
}
