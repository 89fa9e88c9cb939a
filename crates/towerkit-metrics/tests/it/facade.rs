//! The `metrics` crate as a backend.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    CounterFn, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use tower::{Layer, ServiceExt};
use towerkit_core::LayerExt;
use towerkit_metrics::{Facade, MetricsLayer, Provider};
use towerkit_test::{Action, Probe};

/// Records all calls.
#[derive(Default)]
struct Notes(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

struct Series(Arc<Mutex<BTreeMap<String, Vec<String>>>>, String);

impl Series {
    fn note(&self, what: String) {
        let mut notes = self.0.lock().unwrap();
        notes.entry(self.1.clone()).or_default().push(what);
    }
}

impl CounterFn for Series {
    fn increment(&self, by: u64) {
        self.note(format!("+{by}"));
    }
    fn absolute(&self, _to: u64) {
        unreachable!("nothing sets a counter");
    }
}

impl GaugeFn for Series {
    fn increment(&self, by: f64) {
        self.note(format!("{by:+}"));
    }
    fn decrement(&self, by: f64) {
        self.note(format!("{:+}", -by));
    }
    fn set(&self, to: f64) {
        self.note(format!("={to}"));
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.note(format!("saw {value}"));
    }
}

impl Notes {
    fn series(&self, key: &Key) -> Arc<Series> {
        Arc::new(Series(self.0.clone(), key.to_string()))
    }

    fn of(&self, name: &str) -> Vec<String> {
        let notes = self.0.lock().unwrap();
        let mut found = notes.iter().filter(|(key, _)| key.contains(name));
        let notes = found.next().map(|(_, notes)| notes.clone());
        assert!(found.next().is_none(), "one series of {name}");
        notes.unwrap_or_default()
    }
}

impl Recorder for Notes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        assert_eq!(name.as_str(), "towerkit_call_duration_seconds");
        assert_eq!(&*help, "Duration of calls.");
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.series(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.series(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.series(key))
    }
}

#[test]
fn the_layer_records_through_the_facade() {
    let notes = Notes::default();
    with_local_recorder(&notes, || {
        let layer = MetricsLayer::new().registry(Facade).plain("op");
        let (clock, _hand) = towerkit_core::Clock::manual();
        let service = layer.clock(clock).layer(Probe::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            service.clone().oneshot(Action::Succeed).await.unwrap();
            service.oneshot(Action::Succeed).await.unwrap();
        });
    });
    assert_eq!(notes.of("towerkit_calls_active"), ["+1", "-1", "+1", "-1"]);
    let seen = notes.of("towerkit_call_duration_seconds, [operation = op, outcome = success]");
    assert_eq!(seen, ["saw 0", "saw 0"]);
}

/// A8.9, GK-MT-8
#[test]
fn the_three_instruments_forward_their_values() {
    let notes = Notes::default();
    with_local_recorder(&notes, || {
        let counter = Facade.counter("c", "", &[("a", "b")]).unwrap();
        counter.add(123);
        counter.add(456);
        let gauge = Facade.gauge("g", "", &[]).unwrap();
        gauge.set(9);
        gauge.add(3);
    });
    assert_eq!(notes.of("Key(c, [a = b])"), ["+123", "+456"]);
    assert_eq!(notes.of("Key(g)"), ["=9", "+3"]);
}
