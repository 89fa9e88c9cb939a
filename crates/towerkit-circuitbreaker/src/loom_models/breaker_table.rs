//! A [`BreakerTable`] with concurrent look-ups and evictions.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::{
    CircuitBreakerOptions, CountAs, OpenWhen,
    breaker_table::BreakerTable,
    call_result::{CallResult, Windows},
    config::Config,
    generation::Generation,
};

const ONE: u64 = 1 << 6;
const OTHER: u64 = 2 << 6;

const FAILURE: CallResult = CallResult {
    count_as: CountAs::Failure,
    slow: false,
    windows: Windows::All,
};

/// Makes a table for one tag, with breakers that open after two consecutive failures.
fn table() -> Arc<BreakerTable> {
    let open_when = OpenWhen::consecutive_failures(2).unwrap();
    let config = Config {
        options: CircuitBreakerOptions::default().open_when(open_when),
        seed: Some(1),
        clock: towerkit_core::Clock::manual().0,
        ..Config::default()
    };
    Arc::new(BreakerTable::new(config, 1, false))
}

/// Admits a call like the [guard](crate::KeyedCircuitBreakerPolicy).
fn admit(table: &BreakerTable, tag: u64) -> Option<(u32, Generation)> {
    loop {
        let slot = table.slot(tag)?;
        let generation = table.machine(slot).admit(|| 0).ok()?;
        if table.is_owned_by(slot, tag) {
            return Some((slot, generation));
        }
    }
}

/// Makes a call that fails.
fn fail(table: &BreakerTable, tag: u64) {
    if let Some((slot, generation)) = admit(table, tag) {
        table.machine(slot).finish(generation, FAILURE, || 0);
    }
}

fn failures(table: &BreakerTable, tag: u64) -> Option<u64> {
    table.with(tag, |machine| machine.snapshot(0).failures)
}

/// A key gets one breaker, in either order.
#[test]
fn loom_two_calls_of_a_new_key_share_its_breaker() {
    model(|| {
        let (table, tag) = (table(), ONE);
        let other = thread::spawn({
            let table = table.clone();
            move || fail(&table, tag)
        });
        fail(&table, tag);
        other.join().unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!(table.machine(0).state(), crate::State::Open);
    });
}

/// A call of a key that is evicted counts for that key or not at all, but not for the next key in the slot.
#[test]
fn loom_a_call_of_an_evicted_key_does_not_count_for_the_next_key() {
    model(|| {
        let table = table();
        assert!(admit(&table, ONE).is_some());
        let leaving = thread::spawn({
            let table = table.clone();
            move || fail(&table, ONE)
        });
        let came = admit(&table, OTHER).is_some();
        leaving.join().unwrap();
        if came {
            // Unless the first key was added again.
            assert!(matches!(failures(&table, OTHER), Some(0) | None));
        } else {
            assert_eq!(failures(&table, ONE), Some(1));
        }
    });
}
