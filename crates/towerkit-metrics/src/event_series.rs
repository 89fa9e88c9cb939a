//! The series of events, resolved once and found without a lock afterwards.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    Counter, Gauge, Provider, instrument::Noop, metric_table::MetricDescriptor,
    series_table::SeriesTable,
};

/// A metric of events with the label `name` and up to two labels that have few values.
pub(crate) struct EventMetric {
    /// A number that is unique among the metrics of one [`EventSeries`].
    pub(crate) id: u8,
    pub(crate) metric: &'static MetricDescriptor,
    /// The labels after `name`.
    pub(crate) labels: &'static [&'static str],
    /// The number of pairs of label values that are kept for each name.
    pub(crate) max_values: usize,
}

/// The values of the labels after `name`, padded with empty texts.
pub(crate) type LabelValues = [&'static str; 2];

/// The series that were used so far.
pub(crate) struct EventSeries {
    counters: SeriesTable<Slots<Arc<dyn Counter>>>,
    gauges: SeriesTable<Slots<EventGauge>>,
}

/// The series of one metric and one name, few enough for a linear search.
type Slots<I> = Box<[OnceLock<(LabelValues, I)>]>;

/// A gauge with its own count, because a [`Gauge`] cannot be read.
#[derive(Debug)]
pub(crate) struct EventGauge {
    gauge: Arc<dyn Gauge>,
    count: AtomicU64,
}

/// The number of pairs of metric and name that are kept; further pairs are resolved at each event.
const MAX_NAMES: u16 = 512;

impl EventSeries {
    pub(crate) fn new() -> Self {
        Self {
            counters: SeriesTable::new(MAX_NAMES),
            gauges: SeriesTable::new(MAX_NAMES),
        }
    }

    /// Adds to a counter.
    pub(crate) fn count(
        &self,
        provider: &dyn Provider,
        metric: &EventMetric,
        name: &str,
        values: LabelValues,
        by: u64,
    ) {
        let resolve = || {
            let labels = labels(metric, name, values);
            let counter = provider.counter(metric.metric.name, metric.metric.help, &labels);
            // The provider rejects the metric if the program has another metric of that name.
            counter.unwrap_or_else(|_| Arc::new(Noop))
        };
        match find_or_insert(&self.counters, metric, name, values, &resolve) {
            Some(counter) => counter.add(by),
            None => resolve().add(by),
        }
    }

    /// Updates a gauge. A gauge that is not kept starts at 0 each time.
    pub(crate) fn update(
        &self,
        provider: &dyn Provider,
        metric: &EventMetric,
        name: &str,
        values: LabelValues,
        change: impl Fn(&EventGauge),
    ) {
        let resolve = || {
            let labels = labels(metric, name, values);
            let gauge = provider.gauge(metric.metric.name, metric.metric.help, &labels);
            EventGauge {
                gauge: gauge.unwrap_or_else(|_| Arc::new(Noop)),
                count: AtomicU64::new(0),
            }
        };
        match find_or_insert(&self.gauges, metric, name, values, &resolve) {
            Some(gauge) => change(gauge),
            None => change(&resolve()),
        }
    }
}

impl EventGauge {
    pub(crate) fn set(&self, to: i64) {
        self.gauge.set(to);
    }

    pub(crate) fn increment(&self) {
        self.count.fetch_add(1, Relaxed);
        self.gauge.add(1);
    }

    /// Subtracts 1, unless the count is 0.
    pub(crate) fn decrement(&self) {
        // Relaxed: the count guards no other data, and the events of one circuit arrive in order.
        let less = self
            .count
            .fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
        if less.is_ok() {
            self.gauge.add(-1);
        }
    }
}

/// Returns the instrument of a series; `None` if the table or the slots of the name are full.
fn find_or_insert<'a, I>(
    table: &'a SeriesTable<Slots<I>>,
    metric: &EventMetric,
    name: &str,
    values: LabelValues,
    resolve: &impl Fn() -> I,
) -> Option<&'a I> {
    let index = table.find(metric.id, name).or_else(|| {
        let slots = || (0..metric.max_values).map(|_| OnceLock::new()).collect();
        table.insert(metric.id, name, slots)
    });
    let slots = table.get(index?)?;
    slots.iter().find_map(|slot| {
        let (known, instrument) = slot.get_or_init(|| (values, resolve()));
        (*known == values).then_some(instrument)
    })
}

fn labels<'a>(
    metric: &EventMetric,
    name: &'a str,
    values: LabelValues,
) -> Vec<(&'static str, &'a str)> {
    let rest = metric.labels.iter().copied().zip(values);
    [("name", name)].into_iter().chain(rest).collect()
}

impl fmt::Debug for EventSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSeries")
            .field("counters", &self.counters.len())
            .field("gauges", &self.gauges.len())
            .finish()
    }
}
