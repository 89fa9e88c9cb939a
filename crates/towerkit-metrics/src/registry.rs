use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    Buckets, Counter, Gauge, Histogram, MetricError, Provider, RegistrySnapshot,
    atomic::ObservableCounter,
    event_series::EventSeries,
    family::{Family, Instrument, InstrumentKind, wrong_kind},
    metric_table::DROPPED,
    prometheus_text::is_metric_name,
    reserved_names::{self, ReservedNames},
    text_writer::{TextFormat, TextWriter},
};

/// The built-in backend: fixed buckets, atomics, and the Prometheus text format.
///
/// Clones are the same registry. Its memory is bounded without any upkeep: a metric has at most 10,000 series, or as many as
/// [`with_max_series`](Self::with_max_series) says. What would be one more is recorded in a series whose labels all say `_OTHER`, and
/// counted in `towerkit_metrics_dropped_total{metric="…"}`.
///
/// So that no thread waits for another, a series has a copy of its numbers for each thread that uses it, up to the number of processors
/// and to eight: threads that are more share them. A copy is 64 bytes for a counter or a gauge, and for a histogram 64 bytes for each
/// eight of its buckets, its sum counting for two: 192 bytes with the default buckets.
///
/// A handle is resolved once, under a lock, and kept; using it takes no lock.
///
/// ```
/// use towerkit_metrics::Registry;
///
/// let registry = Registry::new();
/// let uppercase = registry.counter("words_total", "Words, by what was done to them.", &[("done", "uppercase")])?;
/// uppercase.add(2);
/// assert!(registry.render().ends_with("words_total{done=\"uppercase\"} 2\n"));
/// # Ok::<(), towerkit_metrics::MetricError>(())
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    max_series: usize,
    families: Mutex<Families>,
    /// The handles of events, for a registry that is a sink.
    event_series: OnceLock<EventSeries>,
}

#[derive(Default)]
struct Families {
    by_name: BTreeMap<Arc<str>, Family>,
    reserved: ReservedNames,
}

const MAX_SERIES: NonZeroUsize = NonZeroUsize::new(10_000).expect("10,000 is not zero");

impl Registry {
    /// Makes a registry of its own, whose metrics have at most 10,000 series each.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_series(MAX_SERIES)
    }

    /// Makes a registry whose metrics have at most `max` series each, and the one for the rest.
    #[must_use]
    pub fn with_max_series(max: NonZeroUsize) -> Self {
        Self(Arc::new(Inner {
            max_series: max.get(),
            families: Mutex::default(),
            event_series: OnceLock::new(),
        }))
    }

    /// Returns the registry of the process, in which layers record unless told otherwise.
    #[must_use]
    pub fn global() -> Self {
        static GLOBAL: LazyLock<Registry> = LazyLock::new(Registry::new);
        GLOBAL.clone()
    }

    /// Resolves a counter, whose name should end in `_total`.
    ///
    /// # Errors
    ///
    /// A [`MetricError`] if Prometheus does not take the name or a label; if there is a metric of that name that is no counter or has
    /// other labels; if the name ends in a suffix that OpenMetrics reserves for another type of metric (`_created`, `_bucket`, `_count`,
    /// `_sum`, `_gcount`, `_gsum`, `_info`); or if a line of the one could be read as that of another, such as of `x_total` and `x`.
    pub fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError> {
        match self.resolve(name, help, labels, &InstrumentKind::Counter)? {
            Instrument::Counter(counter) => Ok(counter),
            _ => Err(wrong_kind(name)),
        }
    }

    /// Shows a count that is kept elsewhere and only rises, such as that of lost log lines; `read` is called by each scrape and snapshot,
    /// and must neither block nor panic.
    ///
    /// A second one of the same name and labels changes nothing.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use towerkit_metrics::Registry;
    ///
    /// let registry = Registry::new();
    /// let lost = Arc::new(AtomicU64::new(0));
    /// let count = lost.clone();
    /// registry.observable_counter("lost_total", "ReservedNames that were lost.", &[], move || count.load(Ordering::Relaxed))?;
    /// lost.store(3, Ordering::Relaxed);
    /// assert!(registry.render().ends_with("lost_total 3\n"));
    /// # Ok::<_, towerkit_metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`counter`](Self::counter); also if there is a counter of that name that is counted here, or the metric has all the
    /// series that it may have.
    pub fn observable_counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), MetricError> {
        let kind = InstrumentKind::ObservableCounter(ObservableCounter::new(read));
        let mut families = self.families();
        let family = family(&mut families, name, help, labels, &kind)?;
        if family.len() >= self.0.max_series {
            return Err(MetricError::new(
                name,
                "it has all the series that it may have",
            ));
        }
        family
            .resolve(name, &kind, labels, self.0.max_series)
            .map(drop)
    }

    /// Resolves a gauge.
    ///
    /// # Errors
    ///
    /// As for [`counter`](Self::counter), but that `_total` is reserved and `_info` is not.
    pub fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError> {
        match self.resolve(name, help, labels, &InstrumentKind::Gauge)? {
            Instrument::Gauge(gauge) => Ok(gauge),
            _ => Err(wrong_kind(name)),
        }
    }

    /// Resolves a histogram, whose name should end in its unit: `_seconds`, `_bytes`.
    ///
    /// Who resolves the first series of a metric chooses the buckets of all.
    ///
    /// # Errors
    ///
    /// As for [`counter`](Self::counter), but that `_total` is reserved as well.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError> {
        match self.resolve(
            name,
            help,
            labels,
            &InstrumentKind::Histogram(buckets.clone()),
        )? {
            Instrument::Histogram(histogram) => Ok(histogram),
            _ => Err(wrong_kind(name)),
        }
    }

    /// Writes all metrics in the Prometheus text format, version 0.0.4.
    ///
    /// The counts of a histogram agree with each other. Its sum may lack, or have, what was observed during the scrape.
    #[must_use]
    pub fn render(&self) -> String {
        self.render_as(TextFormat::Prometheus)
    }

    /// Writes all metrics in the OpenMetrics text format, version 1.0.0, which has exemplars: the trace of the last value of each
    /// bucket of a histogram that was observed in a trace which is recorded.
    ///
    /// A counter whose name does not end in `_total` is of unknown type there, and the sum of a histogram that has, or may have,
    /// negative values is left out, with its count.
    #[must_use]
    pub fn render_open_metrics(&self) -> String {
        self.render_as(TextFormat::OpenMetrics)
    }

    /// Copies all metrics as they are, for an exporter that pushes them.
    ///
    /// The counts of a histogram agree with each other. Its sum may lack, or have, what was observed meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> RegistrySnapshot {
        let families = self.families().by_name.clone();
        let snapshot = |(name, family): (Arc<str>, Family)| family.snapshot(name);
        RegistrySnapshot::new(families.into_iter().map(snapshot).collect())
    }

    fn render_as(&self, format: TextFormat) -> String {
        let mut out = String::new();
        self.text_writer(format).write(&mut out, usize::MAX);
        out
    }

    /// Returns the metrics as text that is still to be written.
    pub(crate) fn text_writer(&self, format: TextFormat) -> TextWriter {
        let families = self.families().by_name.clone();
        TextWriter::new(format, families)
    }

    fn resolve(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        kind: &InstrumentKind,
    ) -> Result<Instrument, MetricError> {
        let mut families = self.families();
        let family = family(&mut families, name, help, labels, kind)?;
        let (instrument, dropped) = family.resolve(name, kind, labels, self.0.max_series)?;
        if dropped {
            self.count_dropped(&mut families, name);
        }
        Ok(instrument)
    }

    fn count_dropped(&self, families: &mut Families, name: &str) {
        let labels = [("metric", name)];
        let kind = InstrumentKind::Counter;
        let dropped = family(families, DROPPED.name, DROPPED.help, &labels, &kind)
            .and_then(|family| family.resolve(DROPPED.name, &kind, &labels, self.0.max_series));
        if let Ok((Instrument::Counter(counter), _)) = dropped {
            counter.add(1);
        }
    }

    pub(crate) fn event_series(&self) -> &EventSeries {
        self.0.event_series.get_or_init(EventSeries::new)
    }

    fn families(&self) -> MutexGuard<'_, Families> {
        // Nothing panics while the lock is held, but for want of memory.
        self.0
            .families
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds or makes a family.
fn family<'a>(
    families: &'a mut Families,
    name: &str,
    help: &str,
    labels: &[(&str, &str)],
    kind: &InstrumentKind,
) -> Result<&'a mut Family, MetricError> {
    if !families.by_name.contains_key(name) {
        if !is_metric_name(name) {
            return Err(MetricError::new(name, "Prometheus does not claim the name"));
        }
        reserved_names::check(name, kind)?;
        let new = Family::new(name, help, kind.clone(), labels)?;
        let name: Arc<str> = name.into();
        families.reserved.claim(&name, kind)?;
        families.by_name.insert(name, new);
    }
    Ok(families.by_name.get_mut(name).expect("it is there by now"))
}

impl Provider for Registry {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Counter>, MetricError> {
        self.counter(name, help, labels)
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<Arc<dyn Gauge>, MetricError> {
        self.gauge(name, help, labels)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Result<Arc<dyn Histogram>, MetricError> {
        self.histogram(name, help, labels, buckets)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("metrics", &self.families().by_name.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{Layer, ServiceExt, service_fn};
    use towerkit_core::{Event, EventSink, LayerExt};

    use super::*;
    use crate::MetricsLayer;

    /// A8.10: whoever holds the lock, a call of a known series takes none, and neither does an event.
    #[test]
    fn what_is_known_is_recorded_without_the_lock() {
        let registry = Registry::new();
        let layer = MetricsLayer::new().registry(registry.clone()).plain("op");
        let service = layer.layer(service_fn(|()| async { Ok::<_, Infallible>(()) }));
        let name = "search";
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let once = || {
            runtime.block_on(service.clone().oneshot(())).unwrap();
            registry.emit(&Event::Hedged {
                name: name.into(),
                number: 1,
            });
        };
        once();
        let locked = registry.families();
        once();
        drop(locked);
        let text = registry.render();
        assert!(text.contains("_count{operation=\"op\",outcome=\"success\"} 2\n"));
        assert!(text.contains("towerkit_hedges_total{name=\"search\"} 2\n"));
    }
}
