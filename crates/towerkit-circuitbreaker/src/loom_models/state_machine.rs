//! A [`StateMachine`] with concurrent changes of state, probes and results.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use loom::thread;
use towerkit_core::{Event, EventQueue, EventSink};

use super::model;
use crate::{
    CircuitBreakerOptions, CountAs, Mode, OpenWhen, State,
    call_result::{CallResult, Windows},
    config::Config,
    generation::Generation,
    state_machine::StateMachine,
};

type Changes = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

const OPEN_FOR: u64 = 10;
const PROBE_TIMEOUT: u64 = 100;

const SUCCESS: CallResult = result(CountAs::Success);
const FAILURE: CallResult = result(CountAs::Failure);
const IGNORED: CallResult = result(CountAs::Ignored);

const fn result(count_as: CountAs) -> CallResult {
    CallResult {
        count_as,
        slow: false,
        windows: Windows::All,
    }
}

/// Makes a breaker that opens at the first failure, and a list of its changes of state.
fn machine(probes: u16) -> (Arc<StateMachine>, Changes) {
    let changes = Changes::default();
    let seen = changes.clone();
    let sink: Arc<dyn EventSink> = Arc::new(move |event: &Event| {
        if let Event::CircuitChanged { from, to, .. } = event {
            seen.lock().unwrap().push((*from, *to));
        }
    });
    let machine = StateMachine::new(&Config {
        options: options(probes),
        seed: Some(1),
        events: EventQueue::new(Some(sink)),
        ..Config::default()
    });
    (Arc::new(machine), changes)
}

fn options(probes: u16) -> CircuitBreakerOptions {
    CircuitBreakerOptions::default()
        .open_when(OpenWhen::consecutive_failures(1).unwrap())
        .open_for(Duration::from_nanos(OPEN_FOR))
        .and_then(|options| options.probes(probes))
        .and_then(|options| options.probe_timeout(Duration::from_nanos(PROBE_TIMEOUT)))
        .unwrap()
}

/// Opens the breaker at time 0; its open duration ends at [`OPEN_FOR`].
fn open(machine: &StateMachine) {
    let generation = admit(machine).unwrap();
    machine.finish(generation, FAILURE, || 0);
}

fn admit(machine: &StateMachine) -> Option<Generation> {
    machine.admit(|| OPEN_FOR).ok()
}

/// Makes one probe and ends it; checks that at most `limit` probes are in flight.
fn probe(machine: &StateMachine, in_flight: &AtomicU16, limit: u16, result: CallResult) -> bool {
    let Some(generation) = admit(machine) else {
        return false;
    };
    if generation.state() == State::HalfOpen {
        assert!(in_flight.fetch_add(1, Ordering::SeqCst) < limit);
        thread::yield_now();
        in_flight.fetch_sub(1, Ordering::SeqCst);
    }
    machine.finish(generation, result, || OPEN_FOR);
    true
}

fn assert_is_path(changes: &Changes) {
    let changes = changes.lock().unwrap();
    assert!(
        changes.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{changes:?}"
    );
}

/// CB-01, CB-02: one probe, which is replaced if it is cancelled.
#[test]
fn loom_one_probe_is_in_flight_at_a_time_and_a_cancelled_one_is_replaced() {
    model(|| {
        let (machine, changes) = machine(1);
        let in_flight = Arc::new(AtomicU16::new(0));
        open(&machine);
        let other = thread::spawn({
            let (machine, in_flight) = (machine.clone(), in_flight.clone());
            move || probe(&machine, &in_flight, 1, IGNORED)
        });
        let succeeded = probe(&machine, &in_flight, 1, SUCCESS);
        other.join().unwrap();
        if succeeded {
            assert_eq!(machine.state(), State::Closed);
        } else {
            assert_eq!(machine.snapshot(OPEN_FOR).probes_in_flight, 0);
            assert!(probe(&machine, &in_flight, 1, SUCCESS));
            assert_eq!(machine.state(), State::Closed);
        }
        assert_is_path(&changes);
    });
}

/// CB-01: the third call is admitted only once the breaker is closed.
#[test]
fn loom_two_probes_close_the_breaker_once() {
    model(|| {
        let (machine, changes) = machine(2);
        let in_flight = Arc::new(AtomicU16::new(0));
        open(&machine);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (machine, in_flight) = (machine.clone(), in_flight.clone());
                thread::spawn(move || probe(&machine, &in_flight, 2, SUCCESS))
            })
            .collect();
        let third = admit(&machine);
        let admitted = others
            .into_iter()
            .map(|other| other.join().unwrap())
            .filter(|admitted| *admitted)
            .count();
        if let Some(third) = third {
            machine.finish(third, SUCCESS, || OPEN_FOR);
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

/// CB-01: one probe fails while the other succeeds.
#[test]
fn loom_a_failed_probe_reopens_the_breaker_despite_a_success() {
    model(|| {
        let (machine, changes) = machine(2);
        open(&machine);
        let (one, other) = (admit(&machine).unwrap(), admit(&machine).unwrap());
        let failing = thread::spawn({
            let machine = machine.clone();
            move || machine.finish(one, FAILURE, || OPEN_FOR)
        });
        machine.finish(other, SUCCESS, || OPEN_FOR);
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

/// CB-11: of two results at the threshold the later one does not even change the opening time.
#[test]
fn loom_two_results_at_the_threshold_open_the_breaker_once() {
    model(|| {
        let (machine, changes) = machine(1);
        let (one, other) = (admit(&machine).unwrap(), admit(&machine).unwrap());
        let first = thread::spawn({
            let machine = machine.clone();
            move || machine.finish(one, FAILURE, || 0)
        });
        machine.finish(other, FAILURE, || 7);
        first.join().unwrap();
        assert_eq!(*changes.lock().unwrap(), [("closed", "open")]);
        let left = machine.early_rejection(|| 7).unwrap().0.unwrap().as_nanos() as u64;
        assert!(left == OPEN_FOR || left == OPEN_FOR - 7, "{left}");
    });
}

/// CB-04, CB-05: a late success or failure during the change to half-open does not change the new state.
#[test]
fn loom_a_late_result_does_not_change_the_probes() {
    for result in [SUCCESS, FAILURE, IGNORED] {
        model(move || {
            let (machine, changes) = machine(1);
            let late_call = admit(&machine).unwrap();
            open(&machine);
            let late = thread::spawn({
                let machine = machine.clone();
                move || machine.finish(late_call, result, || OPEN_FOR)
            });
            let generation = admit(&machine).unwrap();
            assert!(admit(&machine).is_none());
            late.join().unwrap();
            let snapshot = machine.snapshot(OPEN_FOR);
            assert_eq!(snapshot.state, State::HalfOpen);
            assert_eq!(snapshot.failures, 0);
            assert_eq!(
                (snapshot.probes_in_flight, snapshot.probes_succeeded),
                (1, 0)
            );
            machine.finish(generation, SUCCESS, || OPEN_FOR);
            assert_eq!(machine.state(), State::Closed);
            assert_eq!(changes.lock().unwrap().len(), 3);
        });
    }
}

/// The windows are ready for the result of a call that is admitted as soon as the breaker closes.
#[test]
fn loom_the_first_result_after_closing_counts() {
    model(|| {
        let (machine, changes) = machine(1);
        open(&machine);
        let generation = admit(&machine).unwrap();
        let next = thread::spawn({
            let machine = machine.clone();
            move || {
                let next = admit(&machine)?;
                machine.finish(next, FAILURE, || OPEN_FOR);
                Some(next)
            }
        });
        machine.finish(generation, SUCCESS, || OPEN_FOR);
        let next = next.join().unwrap();
        let expected = next.map_or(State::Closed, |_| State::Open);
        assert_eq!(machine.state(), expected);
        assert_is_path(&changes);
    });
}

/// CB-13, CB-17: an override during the last probe.
#[test]
fn loom_an_override_holds_against_a_probe() {
    model(|| {
        let (machine, changes) = machine(1);
        open(&machine);
        let generation = admit(&machine).unwrap();
        let forcing = thread::spawn({
            let machine = machine.clone();
            move || {
                machine.set_mode(Mode::ForcedOpen);
                machine.deliver();
            }
        });
        machine.finish(generation, SUCCESS, || OPEN_FOR);
        forcing.join().unwrap();
        assert_eq!(machine.state(), State::ForcedOpen);
        assert_is_path(&changes);
    });
}

/// CB-03: two calls find an overdue probe; one of them replaces it, and the end of the replaced probe does not count.
#[test]
fn loom_an_overdue_probe_is_replaced_once() {
    for late in [SUCCESS, FAILURE, IGNORED] {
        model(move || {
            const LATER: u64 = OPEN_FOR + PROBE_TIMEOUT;
            let (machine, changes) = machine(1);
            open(&machine);
            let overdue = admit(&machine).unwrap();
            let other = thread::spawn({
                let machine = machine.clone();
                move || machine.admit(|| LATER).ok()
            });
            let here = machine.admit(|| LATER).ok();
            let other = other.join().unwrap();
            assert!(here.is_some() != other.is_some());
            machine.finish(overdue, late, || LATER);
            assert_eq!(machine.state(), State::HalfOpen);
            machine.finish(here.or(other).unwrap(), SUCCESS, || LATER);
            assert_eq!(machine.state(), State::Closed);
            assert_is_path(&changes);
        });
    }
}

/// CB-03: an overdue probe ends while it is replaced: one probe is admitted in either order.
#[test]
fn loom_an_overdue_probe_that_ends_admits_no_second_probe() {
    model(|| {
        const LATER: u64 = OPEN_FOR + PROBE_TIMEOUT;
        let (machine, _) = machine(1);
        open(&machine);
        let overdue = admit(&machine).unwrap();
        let ending = thread::spawn({
            let machine = machine.clone();
            move || machine.finish(overdue, IGNORED, || LATER)
        });
        let probe = machine.admit(|| LATER).ok();
        ending.join().unwrap();
        assert!(probe.is_some());
        assert_eq!(machine.snapshot(LATER).probes_in_flight, 1);
        assert!(machine.admit(|| LATER).is_err());
    });
}

/// A result is compared with the old thresholds or with the new ones, never with a mixture.
#[test]
fn loom_thresholds_change_all_at_once() {
    model(|| {
        let options = |rate, minimum| {
            let open_when = OpenWhen::failure_rate(rate, 4, minimum).unwrap();
            CircuitBreakerOptions::default().open_when(open_when)
        };
        let machine = Arc::new(StateMachine::new(&Config {
            options: options(1.0, 2),
            seed: Some(1),
            ..Config::default()
        }));
        let generation = admit(&machine).unwrap();
        machine.finish(generation, SUCCESS, || 0);
        let updating = thread::spawn({
            let machine = machine.clone();
            move || machine.update(options(0.5, 3))
        });
        machine.finish(generation, FAILURE, || 0);
        updating.join().unwrap();
        assert_eq!(machine.state(), State::Closed);
        assert_eq!(machine.snapshot(0).results, 2);
    });
}

/// A result during the change to another window does not count in the new window.
#[test]
fn loom_a_late_result_does_not_reach_the_new_window() {
    model(|| {
        let options = |window| {
            let open_when = OpenWhen::failure_rate(1.0, window, 1).unwrap();
            CircuitBreakerOptions::default().open_when(open_when)
        };
        let machine = Arc::new(StateMachine::new(&Config {
            options: options(1),
            seed: Some(1),
            ..Config::default()
        }));
        machine.set_mode(Mode::ForcedClosed);
        let generation = admit(&machine).unwrap();
        machine.finish(generation, FAILURE, || 0);
        let late = thread::spawn({
            let machine = machine.clone();
            move || machine.finish(generation, FAILURE, || 0)
        });
        machine.update(options(3));
        late.join().unwrap();
        assert_eq!(machine.snapshot(0).results, 0);
        let generation = admit(&machine).unwrap();
        machine.finish(generation, FAILURE, || 0);
        let snapshot = machine.snapshot(0);
        assert_eq!((snapshot.results, snapshot.failures), (1, 1));
    });
}
