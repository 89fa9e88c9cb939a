//! Handles that are taken before later setters, and names.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::Layer;
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, KeyedCircuitBreakerLayer, OpenWhen, State, WhenFull,
};
use towerkit_core::{Call, CarriesRejection, Clock, Event, LayerExt};
use towerkit_test::{Action, Probe};

use super::setup::call;

fn open_when(failures: u32) -> OpenWhen {
    OpenWhen::consecutive_failures(failures).unwrap()
}

#[test]
fn a_handle_follows_later_setters() {
    let layer = CircuitBreakerLayer::new().open_when(open_when(9));
    let handle = layer.handle();
    let (clock, clock_control) = Clock::manual();
    let layer = layer.open_when(open_when(2)).clock(clock).name("stock");
    let mut service = layer.plain("probe").layer(Probe::new());
    for _ in 0..2 {
        assert!(call(&mut service, Action::Fail).is_err());
    }
    assert_eq!(handle.state(), State::Open);
    assert_eq!(handle.name(), "stock");
    clock_control.advance(Duration::from_secs(10));
    call(&mut service, Action::Succeed).unwrap();
    assert_eq!(handle.state(), State::Closed);
}

/// A layer that is changed after it has made a service starts another breaker; the handle stays with the service.
#[test]
fn a_handle_stays_with_the_services() {
    let layer = CircuitBreakerLayer::new().open_when(open_when(1));
    let handle = layer.handle();
    let mut service = layer.layer(Probe::new());
    let changed = layer.clone().name("changed");
    let later = layer.name("later");
    assert!(call(&mut service, Action::Fail).is_err());
    assert_eq!(handle.state(), State::Open);
    assert_eq!(later.handle().state(), State::Closed);
    assert_eq!(changed.handle().name(), "changed");
    assert_eq!(handle.name(), "circuitbreaker");
}

#[test]
fn a_keyed_handle_follows_later_setters() {
    let by_name = |_: &Call<'_, Action>| Some("stock");
    let layer = KeyedCircuitBreakerLayer::new(3, by_name).unwrap();
    let handle = layer.handle();
    let layer = layer.when_full(WhenFull::Bypass).open_when(open_when(1));
    let mut service = layer.layer(Probe::new());
    assert!(call(&mut service, Action::Fail).is_err());
    let snapshot = handle.snapshot("stock").unwrap();
    assert_eq!(
        (snapshot.state, handle.shared_snapshot()),
        (State::Open, None)
    );
}

/// Two breakers for two upstreams are told apart.
#[test]
fn a_name_made_at_run_time_is_in_rejections_and_events() {
    for upstream in ["stock-1", "stock-2"] {
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let layer = CircuitBreakerLayer::new()
            .name(format!("{upstream}.example.com"))
            .open_when(open_when(1))
            .events(move |event: &Event| seen.lock().unwrap().push(event.clone()));
        let handle = layer.handle();
        let name = handle.name();
        assert_eq!(&*name, format!("{upstream}.example.com"));
        let mut service = layer.layer(Probe::new());
        assert!(call(&mut service, Action::Fail).is_err());
        let rejected = call(&mut service, Action::Succeed).unwrap_err();
        assert_eq!(rejected.rejection().unwrap().layer(), &name);
        let opened = Event::CircuitChanged {
            name,
            from: "closed",
            to: "open",
        };
        assert_eq!(*events.lock().unwrap(), [opened]);
    }
}
