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

/// Records the metrics of [`towerkit_metrics`] with an OpenTelemetry [`Meter`].
///
/// Names, units and attributes follow the [semantic conventions] 1.45: `http_server_request_duration_seconds` becomes
/// `http.server.request.duration` in `s`, and the label `http_route` the attribute `http.route`. A failed call also has the attribute
/// `error.type`, with the value of [`error_type`](towerkit_core::error_type()), as on spans. Metrics without a convention are in the
/// namespace `towerkit`, as [`MetricDescriptor`](towerkit_metrics::MetricDescriptor) lists them. A metric of the program keeps its name
/// without `_total` and without the unit (`_seconds`, `_bytes`, `_ratio` or `_percent`), which becomes the unit of the instrument.
///
/// Clones share one backend. The SDK keeps 2,000 series per metric and records further values with the attribute
/// `otel.metric.overflow`; there are at most 10,000 series of gauges.
///
/// [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/
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
    gauges: Mutex<HashMap<SeriesKey, Arc<OtelGauge>>>,
}

/// The name of a metric and its sorted labels, so that labels in another order find the same series.
type SeriesKey = (String, Vec<(String, String)>);

const MAX_GAUGES: usize = 10_000;

#[derive(Debug, Clone)]
enum Instrument {
    Counter(Counter<u64>),
    Gauge(UpDownCounter<i64>),
    Histogram(Histogram<f64>),
}

impl OtelMeter {
    /// Creates a backend that records with `meter`.
    #[must_use]
    pub fn new(meter: Meter) -> Self {
        Self(Arc::new(Inner {
            meter,
            instruments: Mutex::default(),
            gauges: Mutex::default(),
        }))
    }

    /// Finds or creates the instrument of a metric. The first series fixes the kind, the help and the buckets.
    fn instrument(
        &self,
        metric: &str,
        create: impl FnOnce(&Meter, &meter_names::InstrumentName<'_>) -> Instrument,
    ) -> Result<Instrument, MetricError> {
        let named = meter_names::metric(metric);
        if !meter_names::is_valid_name(&named.name) {
            let reason = "the name is not valid in OpenTelemetry";
            return Err(MetricError::new(metric, reason));
        }
        let mut instruments = lock(&self.0.instruments);
        if let Some(known) = instruments.get(&*named.name) {
            return Ok(known.clone());
        }
        let created = create(&self.0.meter, &named);
        instruments.insert(named.name.into_owned(), created.clone());
        Ok(created)
    }

    /// Finds or creates the gauge of a series. It stores the value, because the instrument only accepts differences.
    fn gauge_series(
        &self,
        metric: &str,
        labels: &[(&str, &str)],
        instrument: UpDownCounter<i64>,
    ) -> Result<Arc<OtelGauge>, MetricError> {
        let attributes = attributes(metric, labels)?;
        let mut pairs: Vec<_> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        pairs.sort();
        let mut gauges = lock(&self.0.gauges);
        let is_full = gauges.len() >= MAX_GAUGES;
        let series = (metric.to_owned(), pairs);
        match gauges.get(&series) {
            Some(gauge) => Ok(gauge.clone()),
            None if is_full => Err(MetricError::new(
                metric,
                "there are 10,000 series of gauges already",
            )),
            None => {
                let gauge = Arc::new(OtelGauge {
                    instrument,
                    attributes,
                    value: AtomicI64::new(0),
                });
                gauges.insert(series, gauge.clone());
                Ok(gauge)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Code under these locks panics only if memory is exhausted.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_kind(metric: &str) -> MetricError {
    MetricError::new(metric, "a metric of this name has another kind")
}

impl Provider for OtelMeter {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn ours::Counter>, MetricError> {
        let attributes = attributes(name, labels)?;
        let found = self.instrument(name, |meter, named| {
            let builder = meter.u64_counter(named.name.to_string());
            let builder = builder.with_description(help.to_owned());
            Instrument::Counter(builder.with_unit(named.unit).build())
        });
        match found? {
            Instrument::Counter(instrument) => Ok(Arc::new(OtelCounter {
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
        let found = self.instrument(name, |meter, named| {
            let builder = meter.i64_up_down_counter(named.name.to_string());
            let builder = builder.with_description(help.to_owned());
            Instrument::Gauge(builder.with_unit(named.unit).build())
        });
        match found? {
            Instrument::Gauge(instrument) => Ok(self.gauge_series(name, labels, instrument)?),
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
        let found = self.instrument(name, |meter, named| {
            let builder = meter.f64_histogram(named.name.to_string());
            let builder = builder.with_description(help.to_owned());
            let builder = builder.with_boundaries(buckets.bounds().to_vec());
            Instrument::Histogram(builder.with_unit(named.unit).build())
        });
        match found? {
            Instrument::Histogram(instrument) => Ok(Arc::new(OtelHistogram {
                instrument,
                attributes,
            })),
            _ => Err(wrong_kind(name)),
        }
    }
}

#[derive(Debug)]
struct OtelCounter {
    instrument: Counter<u64>,
    attributes: Box<[KeyValue]>,
}

impl ours::Counter for OtelCounter {
    fn add(&self, by: u64) {
        self.instrument.add(by, &self.attributes);
    }
}

#[derive(Debug)]
struct OtelGauge {
    instrument: UpDownCounter<i64>,
    attributes: Box<[KeyValue]>,
    value: AtomicI64,
}

impl ours::Gauge for OtelGauge {
    fn add(&self, by: i64) {
        // Relaxed: the order of differences does not change their sum.
        self.value.fetch_add(by, Ordering::Relaxed);
        self.instrument.add(by, &self.attributes);
    }

    fn set(&self, to: i64) {
        let before = self.value.swap(to, Ordering::Relaxed);
        self.instrument
            .add(to.wrapping_sub(before), &self.attributes);
    }
}

#[derive(Debug)]
struct OtelHistogram {
    instrument: Histogram<f64>,
    attributes: Box<[KeyValue]>,
}

impl ours::Histogram for OtelHistogram {
    fn observe(&self, value: f64) {
        if !value.is_nan() {
            self.instrument.record(value, &self.attributes);
        }
    }
}
