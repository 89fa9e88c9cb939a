use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter, UpDownCounter},
};
use towerkit_metrics::{self as ours, Buckets, MetricError, Provider};

use crate::{meter_attributes::attributes, meter_names};

/// A meter of OpenTelemetry as a backend of [`towerkit_metrics`].
///
/// Names, units and attributes are those of the semantic conventions 1.45: `http_server_request_duration_seconds` is
/// `http.server.request.duration` in `s`, and the label `http_route` the attribute `http.route`. A call that failed has `error.type` as
/// well, as [`error_type`](towerkit_core::error_type()) says it for spans, too. Metrics that the conventions do not have are in the
/// namespace `towerkit`. A metric of the program's own keeps its name, but its unit is taken off (`_seconds`, `_bytes`), and `_total`; what
/// [`EventMetrics`](towerkit_metrics::EventMetrics) counts is `towerkit.` and the rest.
///
/// Clones are the same backend. The SDK gives 2,000 series to a metric and records what is more with the attribute
/// `otel.metric.overflow`; gauges have 10,000 series at most.
///
/// ```
/// use towerkit_metrics::MetricsLayer;
/// use towerkit_opentelemetry::OtelMeter;
/// use towerkit_opentelemetry::opentelemetry::global;
///
/// let layer = MetricsLayer::new().registry(OtelMeter::new(global::meter("shop")));
/// ```
#[derive(Debug, Clone)]
pub struct OtelMeter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meter: Meter,
    instruments: Mutex<HashMap<String, Instrument>>,
    levels: Mutex<HashMap<Series, Arc<Level>>>,
}

/// A metric with its attributes in order, so that labels in another order are the same series.
type Series = (String, Vec<(String, String)>);

const MOST_LEVELS: usize = 10_000;

#[derive(Debug, Clone)]
enum Instrument {
    Counter(Counter<u64>),
    Level(UpDownCounter<i64>),
    Histogram(Histogram<f64>),
}

impl OtelMeter {
    /// Makes a backend that records with `meter`.
    #[must_use]
    pub fn new(meter: Meter) -> Self {
        Self(Arc::new(Inner {
            meter,
            instruments: Mutex::default(),
            levels: Mutex::default(),
        }))
    }

    /// Finds the instrument of a metric, or makes it. The first one chooses the kind, the help and the buckets.
    fn instrument(
        &self,
        metric: &str,
        make: impl FnOnce(&Meter, &meter_names::InstrumentName<'_>) -> Instrument,
    ) -> Result<Instrument, MetricError> {
        let spelled = meter_names::metric(metric);
        if !meter_names::is_valid_name(&spelled.name) {
            let why = "OpenTelemetry does not take the name";
            return Err(MetricError::new(metric, why));
        }
        let mut instruments = lock(&self.0.instruments);
        if let Some(known) = instruments.get(&*spelled.name) {
            return Ok(known.clone());
        }
        let made = make(&self.0.meter, &spelled);
        instruments.insert(spelled.name.into_owned(), made.clone());
        Ok(made)
    }

    /// Finds the level of a series, or makes it: its number is kept here, because the instrument only takes differences.
    fn level(
        &self,
        metric: &str,
        labels: &[(&str, &str)],
        instrument: UpDownCounter<i64>,
    ) -> Result<Arc<Level>, MetricError> {
        let attributes = attributes(metric, labels)?;
        let mut pairs: Vec<_> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        pairs.sort();
        let mut levels = lock(&self.0.levels);
        let most = levels.len() >= MOST_LEVELS;
        let series = (metric.to_owned(), pairs);
        match levels.get(&series) {
            Some(level) => Ok(level.clone()),
            None if most => Err(MetricError::new(metric, "there are too many gauges")),
            None => {
                let level = Arc::new(Level {
                    instrument,
                    attributes,
                    now: AtomicI64::new(0),
                });
                levels.insert(series, level.clone());
                Ok(level)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held, but for want of memory.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_kind(metric: &str) -> MetricError {
    MetricError::new(metric, "there is a metric of another kind by that name")
}

impl Provider for OtelMeter {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn ours::Counter>, MetricError> {
        let attributes = attributes(name, labels)?;
        let found = self.instrument(name, |meter, spelled| {
            let builder = meter.u64_counter(spelled.name.to_string());
            let builder = builder.with_description(help.to_owned());
            Instrument::Counter(builder.with_unit(spelled.unit).build())
        });
        match found? {
            Instrument::Counter(instrument) => Ok(Arc::new(Count {
                instrument,
                attributes,
            })),
            _ => Err(wrong_kind(name)),
        }
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn ours::Gauge>, MetricError> {
        let found = self.instrument(name, |meter, spelled| {
            let builder = meter.i64_up_down_counter(spelled.name.to_string());
            let builder = builder.with_description(help.to_owned());
            Instrument::Level(builder.with_unit(spelled.unit).build())
        });
        match found? {
            Instrument::Level(instrument) => Ok(self.level(name, labels, instrument)?),
            _ => Err(wrong_kind(name)),
        }
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn ours::Histogram>, MetricError> {
        let attributes = attributes(name, labels)?;
        let found = self.instrument(name, |meter, spelled| {
            let builder = meter.f64_histogram(spelled.name.to_string());
            let builder = builder.with_description(help.to_owned());
            let builder = builder.with_boundaries(buckets.bounds().to_vec());
            Instrument::Histogram(builder.with_unit(spelled.unit).build())
        });
        match found? {
            Instrument::Histogram(instrument) => Ok(Arc::new(Values {
                instrument,
                attributes,
            })),
            _ => Err(wrong_kind(name)),
        }
    }
}

#[derive(Debug)]
struct Count {
    instrument: Counter<u64>,
    attributes: Box<[KeyValue]>,
}

impl ours::Counter for Count {
    fn add(&self, by: u64) {
        self.instrument.add(by, &self.attributes);
    }
}

#[derive(Debug)]
struct Level {
    instrument: UpDownCounter<i64>,
    attributes: Box<[KeyValue]>,
    now: AtomicI64,
}

impl ours::Gauge for Level {
    fn add(&self, by: i64) {
        // Relaxed: differences add up in any order.
        self.now.fetch_add(by, Ordering::Relaxed);
        self.instrument.add(by, &self.attributes);
    }

    fn set(&self, to: i64) {
        let before = self.now.swap(to, Ordering::Relaxed);
        self.instrument
            .add(to.wrapping_sub(before), &self.attributes);
    }
}

#[derive(Debug)]
struct Values {
    instrument: Histogram<f64>,
    attributes: Box<[KeyValue]>,
}

impl ours::Histogram for Values {
    fn observe(&self, value: f64) {
        if !value.is_nan() {
            self.instrument.record(value, &self.attributes);
        }
    }
}
