//! CB-17: events.

use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use towerkit_circuitbreaker::{CircuitBreakerHandle, CircuitBreakerLayer, OpenWhen};
use towerkit_core::Event;
use towerkit_test::Action;

use super::setup::{OPEN_FOR, Setup, consecutive};

/// CB-17
#[test]
fn each_change_of_state_is_one_event_and_a_sink_may_use_the_breaker() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let shared = Arc::new(Mutex::new(None::<CircuitBreakerHandle>));
    let breaker = shared.clone();
    let setup = Setup::new(consecutive().name("stock").events(move |event: &Event| {
        if let Some(breaker) = &*breaker.lock().unwrap() {
            let _ = breaker.snapshot();
        }
        seen.lock().unwrap().push(event.clone());
    }));
    *shared.lock().unwrap() = Some(setup.breaker.clone());
    setup.open();
    setup.clock_control.advance(OPEN_FOR);
    setup.succeed(1);
    setup.breaker.force_open();
    setup.breaker.force_open();
    setup.breaker.release();
    setup.breaker.release();
    let states = [
        "closed",
        "open",
        "half_open",
        "closed",
        "forced_open",
        "closed",
    ];
    let expected = states.windows(2).map(|pair| Event::CircuitChanged {
        name: "stock".into(),
        from: pair[0],
        to: pair[1],
    });
    assert_eq!(*events.lock().unwrap(), expected.collect::<Vec<_>>());
}

/// CB-17: 10⁶ changes from four threads.
#[test]
fn events_of_many_threads_form_a_path_of_legal_changes() {
    const CHANGES: u64 = 1_000_000;
    let path = Arc::new(Mutex::new(Path::default()));
    let count = Arc::new(AtomicU64::new(0));
    let (seen, counted) = (path.clone(), count.clone());
    let layer = CircuitBreakerLayer::new()
        .open_when(OpenWhen::consecutive_failures(1).unwrap())
        .open_for(Duration::from_nanos(1))
        .unwrap()
        .events(move |event: &Event| {
            seen.lock().unwrap().follow(event);
            counted.fetch_add(1, Ordering::Relaxed);
        });
    let setup = Setup::new(layer);
    let turn = Barrier::new(4);
    thread::scope(|scope| {
        for seed in 1..=4 {
            let (setup, turn, count) = (&setup, &turn, &count);
            let is_done = || count.load(Ordering::Relaxed) >= CHANGES;
            scope.spawn(move || drive(setup, seed, turn, is_done));
        }
    });
    let path = path.lock().unwrap();
    assert_eq!(path.illegal, Vec::new());
    assert_eq!(path.at, setup.breaker.state().as_str());
}

/// The state that the events lead to from a closed breaker, and the illegal changes among them.
struct Path {
    at: &'static str,
    illegal: Vec<(&'static str, Event)>,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            at: "closed",
            illegal: Vec::new(),
        }
    }
}

impl Path {
    fn follow(&mut self, event: &Event) {
        if let Event::CircuitChanged { from, to, .. } = event {
            if self.at != *from || !is_legal(from, to) {
                self.illegal.push((self.at, event.clone()));
            }
            self.at = to;
        }
    }
}

/// Makes calls and overrides at random until `is_done` returns true.
///
/// The threads wait for each other every 100 steps. An event queue holds 1024 events and drops further ones while its sink is slower;
/// when all threads wait, it is empty.
fn drive(setup: &Setup, seed: u64, turn: &Barrier, is_done: impl Fn() -> bool) {
    let mut random = seed;
    loop {
        for _ in 0..100 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            setup.clock_control.advance(Duration::from_nanos(1));
            match random >> 60 {
                0 => setup.breaker.force_open(),
                1 => setup.breaker.force_closed(),
                2 => setup.breaker.disable(),
                3..7 => setup.breaker.release(),
                7..12 => drop(setup.call(Action::Fail)),
                _ => drop(setup.call(Action::Succeed)),
            }
        }
        turn.wait();
        let is_done = is_done();
        turn.wait();
        if is_done {
            return;
        }
    }
}

fn is_legal(from: &str, to: &str) -> bool {
    let is_forced = |state: &str| state.starts_with("forced") || state == "disabled";
    match (from, to) {
        ("closed" | "half_open", "open") | ("open", "half_open") | ("half_open", "closed") => true,
        (from, to) if is_forced(to) => from != to,
        (from, to) => is_forced(from) && to == "closed",
    }
}
