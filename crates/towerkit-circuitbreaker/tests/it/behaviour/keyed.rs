//! A breaker for each key.

use std::{
    future::{Ready, ready},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, Key, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer, Mode,
    OpenDuration, OpenWhen, State, WhenFull,
};
use towerkit_core::{BoxError, Call, CarriesRejection, Clock, LayerExt, ManualClock, stack};

use super::setup::{OPEN_FOR, ended};

/// A request for one of many callees, which answers as told.
#[derive(Debug, Clone, Copy)]
struct Ask {
    of: u64,
    well: bool,
}

type Find = fn(&Call<'_, Ask>) -> Option<Key>;

struct Many {
    layer: KeyedCircuitBreakerLayer<Find>,
    breakers: KeyedCircuitBreakerHandle,
    hand: ManualClock,
}

fn many(
    capacity: usize,
    set: impl FnOnce(KeyedCircuitBreakerLayer<Find>) -> KeyedCircuitBreakerLayer<Find>,
) -> Many {
    let (clock, hand) = Clock::manual();
    let find: Find = |call| (call.request.of > 0).then(|| Key::new(call.request.of));
    let layer = KeyedCircuitBreakerLayer::new(capacity, find).unwrap();
    let open_when = OpenWhen::consecutive_failures(2).unwrap();
    let layer = set(layer.open_when(open_when).clock(clock));
    Many {
        breakers: layer.handle(),
        layer,
        hand,
    }
}

fn answer(ask: Ask) -> Ready<Result<u64, BoxError>> {
    ready(if ask.well {
        Ok(ask.of)
    } else {
        Err("unwell".into())
    })
}

impl Many {
    /// Returns whether the call went through.
    fn call(&self, of: u64, well: bool) -> bool {
        let result = ended(
            self.layer
                .layer(service_fn(answer))
                .oneshot(Ask { of, well }),
        );
        match result {
            Ok(_) => true,
            Err(error) => error.rejection().is_none(),
        }
    }

    fn open(&self, of: u64) {
        assert!(self.call(of, false) && self.call(of, false));
        assert!(!self.call(of, true), "open");
    }

    fn state(&self, of: u64) -> Option<State> {
        self.breakers
            .snapshot(Key::new(of))
            .map(|snapshot| snapshot.state)
    }
}

#[test]
fn every_key_has_a_breaker_of_its_own() {
    let many = many(10, |layer| layer);
    many.open(1);
    assert!(many.call(2, true) && many.call(2, false));
    assert_eq!(many.state(1), Some(State::Open));
    assert_eq!(many.state(2), Some(State::Closed));
    assert_eq!(many.state(3), None);
    many.hand.advance(OPEN_FOR);
    assert!(many.call(1, true));
    assert_eq!(many.state(1), Some(State::Closed));
    assert_eq!(many.breakers.keys(), 2);
}

#[test]
fn a_call_without_a_key_passes_by() {
    let many = many(1, |layer| layer);
    assert!((0..10).all(|_| many.call(0, false)));
    assert_eq!(many.breakers.keys(), 0);
}

/// No pressure by other keys closes an open breaker, or forgets a failure.
#[test]
fn a_key_that_remembers_something_bad_is_never_forgotten_for_another() {
    let many = many(100, |layer| layer);
    for bad in 1..=40 {
        many.open(bad);
    }
    for failing in 41..=80 {
        assert!(many.call(failing, false));
    }
    for other in 1_000..101_000 {
        assert!(many.call(other, true));
    }
    assert_eq!(many.breakers.keys(), 100);
    for bad in 1..=40 {
        assert!(!many.call(bad, true));
    }
    for failing in 41..=80 {
        assert!(many.call(failing, false));
        assert_eq!(many.state(failing), Some(State::Open));
    }
}

/// What leaves is what was used least lately, roughly: here the key in use never does, and so remembers all of its calls.
#[test]
fn a_key_in_use_outlives_those_that_come_once() {
    let open_when = OpenWhen::failure_rate(1.0, 2_000, 2_000).unwrap();
    let many = many(16, |layer| layer.open_when(open_when));
    assert!(many.call(2, true));
    for other in 1_000..2_000 {
        assert!(many.call(1, true));
        assert!(many.call(other, true));
    }
    assert_eq!(
        many.breakers.snapshot(Key::new(1_u64)).unwrap().results,
        1_000
    );
}

#[test]
fn a_key_without_room_shares_a_breaker_with_the_others_like_it() {
    let many = many(2, |layer| layer);
    many.open(1);
    many.open(2);
    assert!(many.call(3, false) && many.call(4, false));
    assert_eq!(
        many.breakers.overflow_snapshot().unwrap().state,
        State::Open
    );
    assert!(!many.call(5, true));
    assert_eq!(many.state(3), None);
    many.hand.advance(OPEN_FOR);
    assert!(many.call(1, true), "which makes room");
    assert!(many.call(3, true));
    assert_eq!((many.state(1), many.state(3)), (None, Some(State::Closed)));
}

#[test]
fn a_key_without_room_goes_unguarded_if_asked_for() {
    let many = many(1, |layer| layer.when_full(WhenFull::Unguarded));
    many.open(1);
    assert!((0..10).all(|_| many.call(2, false)));
    assert_eq!(many.breakers.overflow_snapshot(), None);
    assert!(!many.call(1, true));
}

/// A failure that is forgotten by its window makes room; one that is not does not.
#[test]
fn failures_that_time_has_forgotten_do_not_keep_a_key() {
    let window = Duration::from_secs(20);
    let open_when = OpenWhen::failure_rate(1.0, window, 10).unwrap();
    let many = many(1, |layer| layer.open_when(open_when));
    assert!(many.call(1, false));
    assert!(many.call(2, true));
    assert_eq!((many.state(1), many.state(2)), (Some(State::Closed), None));
    many.hand.advance(window);
    assert!(many.call(2, true));
    assert_eq!((many.state(1), many.state(2)), (None, Some(State::Closed)));
}

/// A call that outlives the stay of its key counts for no other key.
#[test]
fn the_result_of_a_key_that_left_counts_for_nothing() {
    let many = many(1, |layer| layer);
    let mut service = many.layer.layer(service_fn(answer));
    let late = service.call(Ask { of: 1, well: false });
    assert!(many.call(2, true));
    assert_eq!(many.state(1), None);
    assert!(ended(late).is_err());
    assert_eq!(many.breakers.snapshot(Key::new(2_u64)).unwrap().failures, 0);
}

/// CB-13, for one key and for all.
#[test]
fn modes_are_for_one_key_or_for_all() {
    let many = many(3, |layer| layer);
    let [one, two] = [1, 2].map(|of: u64| Key::new(of));
    assert!(many.breakers.set_mode(one, Mode::ForcedOpen), "made for it");
    assert!(!many.call(1, true) && many.call(2, true));

    many.breakers.set_mode_of_all(Mode::Observing);
    for of in 1..=3 {
        assert!((0..5).all(|_| many.call(of, false)));
        assert_eq!(many.state(of), Some(State::Open));
    }
    assert_eq!(many.breakers.snapshot(two).unwrap().let_through, 3);
    assert!(
        !many.breakers.set_mode(Key::new(4_u64), Mode::ForcedOpen),
        "no room"
    );

    many.breakers.set_mode_of_all(Mode::Automatic);
    for of in 1..=3 {
        assert!(many.call(of, false) && many.call(of, true));
    }
}

/// Forced breakers stay with their keys, unless all are forced.
#[test]
fn a_forced_key_is_never_forgotten_for_another() {
    let many = many(2, |layer| layer);
    assert!(many.breakers.set_mode(Key::new(1_u64), Mode::Disabled));
    for other in 10..1_000 {
        assert!(many.call(other, true));
    }
    assert_eq!(many.state(1), Some(State::Disabled));
    many.breakers.set_mode_of_all(Mode::ForcedOpen);
    for other in 10..1_000 {
        assert!(!many.call(other, true));
        assert_eq!(many.state(other), Some(State::ForcedOpen));
    }
}

#[test]
fn options_change_for_all_keys_and_those_to_come() {
    let many = many(10, |layer| layer);
    assert!(many.call(1, true));
    let open_when = OpenWhen::consecutive_failures(1).unwrap();
    many.breakers
        .update(many.breakers.options().open_when(open_when));
    for of in [1, 2] {
        assert!(many.call(of, false));
        assert_eq!(many.state(of), Some(State::Open));
    }
}

/// The key is in the request, and readiness comes before the request.
#[test]
fn readiness_asks_the_service_whatever_its_breakers_say() {
    let many = many(1, |layer| layer);
    many.open(1);
    let probe = towerkit_test::Probe::new();
    let counts = probe.counts();
    let find = |_: &Call<'_, towerkit_test::Action>| Some(Key::new(1_u64));
    let layer = KeyedCircuitBreakerLayer::new(1, find).unwrap();
    layer.handle().set_mode(Key::new(1_u64), Mode::ForcedOpen);
    let mut service = layer.layer(probe);
    let error = super::setup::call(&mut service, towerkit_test::Action::Succeed).unwrap_err();
    assert!(error.rejection().is_some());
    assert_eq!((counts.polls() > 0, counts.started()), (true, 0));
}

/// In a policy stack, beside a breaker for all.
#[test]
fn a_keyed_breaker_stands_in_a_row() {
    let find: Find = |call| Some(Key::new(call.request.of));
    let keyed = KeyedCircuitBreakerLayer::new(10, find).unwrap();
    let (handle, one) = (keyed.handle(), CircuitBreakerLayer::new());
    let all = one.handle();
    let service = stack((one, keyed)).plain("ask").layer(service_fn(answer));
    assert!(ended(service.oneshot(Ask { of: 7, well: true })).is_ok());
    assert_eq!((all.snapshot().results, handle.keys()), (1, 1));
}

/// Threads whose keys push each other out, while some keys stay open.
#[test]
fn open_keys_stay_open_under_threads_that_push_each_other_out() {
    let many = many(8, |layer| layer);
    for bad in 1..=4 {
        many.open(bad);
    }
    let leaked = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (many, leaked) = (&many, &leaked);
            scope.spawn(move || {
                for round in 0..5_000 {
                    assert!(many.call(1_000 + thread * 10_000 + round % 100, true));
                    if many.call(1 + round % 4, true) {
                        leaked.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(!leaked.load(Ordering::Relaxed));
    assert_eq!(many.breakers.keys(), 8);
}

/// A breaker that would stay open for longer the next time remembers something bad.
#[test]
fn a_key_that_has_not_recovered_keeps_its_breaker() {
    let time = OpenDuration::new(OPEN_FOR).unwrap();
    let many = many(1, |layer| {
        layer.open_duration(time.growing(2.0, 4 * OPEN_FOR).unwrap())
    });
    many.open(1);
    many.hand.advance(OPEN_FOR);
    assert!(many.call(1, true) && many.call(2, true));
    assert_eq!((many.state(1), many.state(2)), (Some(State::Closed), None));
    many.hand.advance(OPEN_FOR);
    assert!(many.call(2, true));
    assert_eq!(many.state(1), None);
}
