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

/// The built-in metrics backend: keeps all series in memory and writes them for Prometheus.
///
/// Clones share one registry. Its memory is bounded: a metric has at most 10,000 series, or [`with_max_series`](Self::with_max_series). A
/// value for a further series is recorded in a series with the value `_OTHER` in all labels, and counted in
/// `towerkit_metrics_dropped_total{metric="…"}`.
///
/// Threads do not wait for each other: a series has a copy of its cells for each thread that uses it, up to the number of processors and
/// at most eight; further threads share copies. A copy takes 64 bytes for a [`Counter`] or a [`Gauge`], and for a [`Histogram`] 64 bytes
/// per eight cells, which are its buckets and two sums: 192 bytes with the default [`Buckets`].
///
/// Resolving an instrument takes a lock; using it does not.
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
    /// The series of events, for a registry that is an event sink.
    event_series: OnceLock<EventSeries>,
}

#[derive(Default)]
struct Families {
    by_name: BTreeMap<Arc<str>, Family>,
    reserved: ReservedNames,
}

const MAX_SERIES: NonZeroUsize = NonZeroUsize::new(10_000).expect("10,000 is not zero");

impl Registry {
    /// Creates a registry with at most 10,000 series per metric.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_series(MAX_SERIES)
    }

    /// Creates a registry with at most `max` series per metric, plus one for the overflow.
    #[must_use]
    pub fn with_max_series(max: NonZeroUsize) -> Self {
        Self(Arc::new(Inner {
            max_series: max.get(),
            families: Mutex::default(),
            event_series: OnceLock::new(),
        }))
    }

    /// Returns the registry of the process, the default of [`MetricsLayer`](crate::MetricsLayer).
    #[must_use]
    pub fn global() -> Self {
        static GLOBAL: LazyLock<Registry> = LazyLock::new(Registry::new);
        GLOBAL.clone()
    }

    /// Resolves a [`Counter`]; its name should end in `_total`.
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] if:
    ///
    /// - the name or the name of a label is invalid in Prometheus;
    /// - a metric of this name has another kind or other labels;
    /// - the name ends in a suffix that OpenMetrics reserves for another type (`_created`, `_bucket`, `_count`, `_sum`, `_gcount`,
    ///   `_gsum`, `_info`);
    /// - a line of this metric could be read as one of another metric, as with `x_total` and `x`.
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

    /// Registers a counter whose value `read` returns, such as the number of lost log lines. Each scrape and [`snapshot`](Self::snapshot)
    /// calls `read`, which must neither block, panic nor decrease.
    ///
    /// A second registration with the same name and labels is ignored.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use towerkit_metrics::Registry;
    ///
    /// let registry = Registry::new();
    /// let lost = Arc::new(AtomicU64::new(0));
    /// let count = lost.clone();
    /// registry.observable_counter("lost_total", "Log lines that were lost.", &[], move || count.load(Ordering::Relaxed))?;
    /// lost.store(3, Ordering::Relaxed);
    /// assert!(registry.render().ends_with("lost_total 3\n"));
    /// # Ok::<_, towerkit_metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] as [`counter`](Self::counter) does, if a counter of this name was resolved by [`counter`](Self::counter),
    /// or if the metric has its maximum number of series.
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
                "the metric has its maximum number of series",
            ));
        }
        family
            .resolve(name, &kind, labels, self.0.max_series)
            .map(drop)
    }

    /// Resolves a [`Gauge`].
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] as [`counter`](Self::counter) does, except that `_total` is reserved and `_info` is not.
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

    /// Resolves a [`Histogram`]; its name should end in its unit, such as `_seconds` or `_bytes`.
    ///
    /// The first series of a metric fixes the [`Buckets`] of all its series.
    ///
    /// # Errors
    ///
    /// Returns a [`MetricError`] as [`counter`](Self::counter) does; `_total` is reserved too.
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

    /// Writes all metrics in the Prometheus [text format, version 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/).
    ///
    /// The counts of a histogram agree with each other. Its sum may include or miss values that are observed during the scrape.
    #[must_use]
    pub fn render(&self) -> String {
        self.render_as(TextFormat::Prometheus)
    }

    /// Writes all metrics in the [OpenMetrics text format, version 1.0.0][open-metrics], with exemplars: the trace of the latest value of
    /// each bucket that was observed in a sampled trace.
    ///
    /// A counter whose name does not end in `_total` has the type `unknown`. The sum and the count of a histogram are omitted if it has,
    /// or may have, negative values.
    ///
    /// [open-metrics]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
    #[must_use]
    pub fn render_open_metrics(&self) -> String {
        self.render_as(TextFormat::OpenMetrics)
    }

    /// Returns a copy of all metrics, for exporters that push.
    ///
    /// The counts of a histogram agree with each other. Its sum may include or miss values that are observed meanwhile.
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

    /// Returns a writer of the current metrics.
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
        // The lock is never poisoned by a bug here: code under it panics only if memory is exhausted.
        self.0
            .families
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds or creates a family.
fn family<'a>(
    families: &'a mut Families,
    name: &str,
    help: &str,
    labels: &[(&str, &str)],
    kind: &InstrumentKind,
) -> Result<&'a mut Family, MetricError> {
    if !families.by_name.contains_key(name) {
        if !is_metric_name(name) {
            return Err(MetricError::new(
                name,
                "the name is not valid in Prometheus",
            ));
        }
        reserved_names::check(name, kind)?;
        let new = Family::new(name, help, kind.clone(), labels)?;
        let name: Arc<str> = name.into();
        families.reserved.claim(&name, kind)?;
        families.by_name.insert(name, new);
    }
    Ok(families
        .by_name
        .get_mut(name)
        .expect("the family was inserted above"))
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

    /// A8.10: a call of a known series takes no lock, and neither does an event, even while another thread holds the lock.
    #[test]
    fn a_known_series_is_recorded_without_the_lock() {
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
