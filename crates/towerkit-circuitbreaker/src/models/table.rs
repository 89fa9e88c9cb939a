//! Keys that come, go, and are looked for meanwhile.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::{
    CircuitBreakerOptions, CountAs, Key, OpenWhen, WhenFull,
    epoch::Epoch,
    keyed::Table,
    mark::{Counts, Mark},
    settings::Settings,
};

const FAILURE: Mark = Mark {
    verdict: CountAs::Failure,
    slow: false,
    counts: Counts::Everywhere,
};

/// A table with room for one key, whose breakers open at the second failure in a row.
fn table(overflow: WhenFull) -> Arc<Table> {
    let open_when = OpenWhen::consecutive_failures(2).unwrap();
    let settings = Settings {
        options: CircuitBreakerOptions::default().open_when(open_when),
        seed: Some(1),
        clock: towerkit_core::Clock::manual().0,
        ..Settings::default()
    };
    Arc::new(Table::new(settings, 1, overflow))
}

/// Admits a call as the guard does.
fn admit(table: &Table, key: Key) -> Option<(u32, Epoch)> {
    loop {
        let slot = table.slot(key)?;
        let epoch = table.machine(slot).admit(|| 0).ok()?;
        if table.is_of(slot, key) {
            return Some((slot, epoch));
        }
    }
}

/// Makes a call that fails.
fn fail(table: &Table, key: Key) {
    if let Some((slot, epoch)) = admit(table, key) {
        table.machine(slot).finish(epoch, FAILURE, || 0);
    }
}

fn failures(table: &Table, key: Key) -> Option<u64> {
    table.with(key, |machine| machine.snapshot(0).failures)
}

/// A key is made once, whoever comes first.
#[test]
fn loom_two_calls_of_a_new_key_share_its_breaker() {
    model(|| {
        let (table, key) = (table(WhenFull::Unguarded), Key::new("one"));
        let other = thread::spawn({
            let table = table.clone();
            move || fail(&table, key)
        });
        fail(&table, key);
        other.join().unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!(table.machine(0).state(), crate::State::Open);
    });
}

/// A call of a key that is leaving counts for that key or for none, never for the key that takes its place.
#[test]
fn loom_a_key_that_leaves_takes_its_calls_along() {
    model(|| {
        let table = table(WhenFull::Unguarded);
        let [one, other] = ["one", "other"].map(|name: &str| Key::new(name));
        assert!(admit(&table, one).is_some());
        let leaving = thread::spawn({
            let table = table.clone();
            move || fail(&table, one)
        });
        let came = admit(&table, other).is_some();
        leaving.join().unwrap();
        if came {
            // Unless the first key came back in the end.
            assert!(matches!(failures(&table, other), Some(0) | None));
        } else {
            assert_eq!(failures(&table, one), Some(1));
        }
    });
}
