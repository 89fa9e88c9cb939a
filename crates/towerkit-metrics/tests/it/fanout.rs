//! Several backends as one.

use std::sync::{Arc, Mutex};

use tower::{Layer, ServiceExt};
use towerkit_core::{Event, EventSink, LayerExt};
use towerkit_metrics::{
    Buckets, Counter, EventMetrics, Fanout, Gauge, Histogram, MetricError, MetricsLayer, Provider,
    Registry,
};
use towerkit_test::{Action, Probe};

use crate::scrape::Scraped;

/// Records all calls with its own number.
#[derive(Debug, Clone)]
struct Notes {
    name: &'static str,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Notes {
    fn note(&self, what: String) {
        let name = self.name;
        self.notes.lock().unwrap().push(format!("{name} {what}"));
    }
}

impl Counter for Notes {
    fn add(&self, by: u64) {
        self.note(format!("+{by}"));
    }
}

impl Gauge for Notes {
    fn add(&self, by: i64) {
        self.note(format!("{by:+}"));
    }
    fn set(&self, to: i64) {
        self.note(format!("={to}"));
    }
}

impl Histogram for Notes {
    fn observe(&self, value: f64) {
        self.note(format!("saw {value}"));
    }
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Provider for Notes {
    fn counter(&self, _: &str, _: &str, _: Labels<'_>) -> Result<Arc<dyn Counter>, MetricError> {
        Ok(Arc::new(self.clone()))
    }
    fn gauge(&self, _: &str, _: &str, _: Labels<'_>) -> Result<Arc<dyn Gauge>, MetricError> {
        Ok(Arc::new(self.clone()))
    }
    fn histogram(
        &self,
        _: &str,
        _: &str,
        _: Labels<'_>,
        _: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError> {
        Ok(Arc::new(self.clone()))
    }
}

/// A8.9, GK-MT-8: three children, and each sees all, in order.
#[test]
fn each_of_three_backends_gets_every_value_in_order() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let child = |name| Notes {
        name,
        notes: Arc::clone(&notes),
    };
    let tee = Fanout::new()
        .and(child("a"))
        .and(child("b"))
        .and(child("c"));
    let told = |expected: &str| {
        let notes = std::mem::take(&mut *notes.lock().unwrap());
        assert_eq!(notes.join(", "), expected);
    };
    let counter = tee.counter("c_total", "", &[]).unwrap();
    counter.add(123);
    counter.add(456);
    told("a +123, b +123, c +123, a +456, b +456, c +456");
    let gauge = tee.gauge("g", "", &[]).unwrap();
    [9, 8, 7].iter().for_each(|to| gauge.set(*to));
    gauge.add(3);
    told("a =9, b =9, c =9, a =8, b =8, c =8, a =7, b =7, c =7, a +3, b +3, c +3");
    let histogram = tee.histogram("h", "", &[], &Buckets::default()).unwrap();
    let values = [1.0, 2.0, 4.0];
    values.iter().for_each(|value| histogram.observe(*value));
    histogram.observe_nanos(8_000_000_000);
    told(
        "a saw 1, b saw 1, c saw 1, a saw 2, b saw 2, c saw 2, \
         a saw 4, b saw 4, c saw 4, a saw 8, b saw 8, c saw 8",
    );
}

#[tokio::test]
async fn a_layer_and_its_events_go_to_all_backends() {
    let [here, there] = [Registry::new(), Registry::new()];
    let tee = Fanout::new().and(here.clone()).and(there.clone());
    let layer = MetricsLayer::new().registry(tee.clone());
    let service = layer.plain("op").layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    let events = EventMetrics::new(tee);
    events.emit(&Event::Hedged {
        name: "search".into(),
        number: 1,
    });
    let scraped = Scraped::of(&here);
    assert_eq!(scraped.all("towerkit_call_duration_seconds_count"), [1.0]);
    assert_eq!(scraped.all("towerkit_hedges_total"), [1.0]);
    assert_eq!(here.render(), there.render());
}

#[tokio::test]
async fn without_a_backend_all_values_are_discarded() {
    let layer = MetricsLayer::new().registry(Fanout::new());
    let service = layer.plain("op").layer(Probe::new());
    service.oneshot(Action::Succeed).await.unwrap();
    let counter = Fanout::new().counter("any name", "", &[("le", "")]);
    counter.unwrap().add(1);
}

/// A8.6
#[test]
fn a_metric_is_rejected_only_if_all_backends_reject_it() {
    let [here, there] = [Registry::new(), Registry::new()];
    let tee = Fanout::new().and(here.clone()).and(there.clone());
    here.counter("words_total", "", &[("a", "b")])
        .unwrap()
        .add(7);
    tee.counter("words_total", "", &[]).unwrap().add(3);
    assert_eq!(Scraped::of(&here).all("words_total"), [7.0]);
    assert_eq!(Scraped::of(&there).all("words_total"), [3.0]);
    let error = tee.counter("no name", "", &[]).unwrap_err();
    assert_eq!(error.name(), "no name");
    assert!(tee.gauge("no name", "", &[]).is_err());
    let buckets = Buckets::default();
    assert!(tee.histogram("no name", "", &[], &buckets).is_err());
}
