use std::sync::{Arc, OnceLock};

use towerkit_core::{CallEnd, Outcome, RejectionReason, Status};

use crate::{
    Counter, Gauge, Histogram,
    call_kind::{CallKind, OVERFLOW, status_label},
    config::Config,
    metric_table::MetricDescriptor,
};

/// The series of one operation: a gauge of active calls, and a histogram of durations for each status and [`Outcome`].
#[derive(Debug)]
pub(crate) struct OperationSeries {
    kind: CallKind,
    operation: Box<str>,
    active: Arc<dyn Gauge>,
    time_to_head: Option<Arc<dyn Histogram>>,
    results: [OnceLock<(CallResult, ResultSeries)>; MAX_RESULTS],
    overflow: [OnceLock<(Outcome, ResultSeries)>; Outcome::ALL.len()],
    rejected: [OnceLock<Arc<dyn Counter>>; RejectionReason::ALL.len()],
}

/// The series of the calls of one operation with the same [`CallResult`].
#[derive(Debug)]
struct ResultSeries {
    duration: Arc<dyn Histogram>,
    sizes: Option<Box<SizeSeries>>,
}

#[derive(Debug)]
struct SizeSeries {
    request: Option<Arc<dyn Histogram>>,
    response: Option<Arc<dyn Histogram>>,
}

/// The measurements of one call at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurements {
    pub(crate) nanos: u64,
    /// The declared length of the request, or [`UNKNOWN`](Self::UNKNOWN).
    pub(crate) request_size: u64,
}

impl Measurements {
    /// Stands for a request without a declared length; no request is that long.
    pub(crate) const UNKNOWN: u64 = u64::MAX;
}

/// The number of results that get series of their own, in the order of their first occurrence. Other results share a series per
/// [`Outcome`].
const MAX_RESULTS: usize = 16;

type CallResult = (Option<Status>, Outcome);

impl OperationSeries {
    pub(crate) fn new(config: &Config, kind: CallKind, operation: &str) -> Self {
        let metrics = kind.metrics(config.side);
        let labels = kind.labels(config.side, operation);
        let time_to_head = metrics.time_to_head.filter(|_| config.time_to_head);
        Self {
            kind,
            operation: operation.into(),
            active: config.gauge(metrics.active, &labels),
            time_to_head: time_to_head
                .map(|metric| config.histogram(metric, &labels, &config.buckets)),
            results: Default::default(),
            overflow: Default::default(),
            rejected: Default::default(),
        }
    }

    #[inline]
    pub(crate) fn increment_active(&self) {
        self.active.add(1);
    }

    #[inline]
    pub(crate) fn decrement_active(&self) {
        self.active.add(-1);
    }

    #[inline]
    pub(crate) fn record_time_to_head(&self, nanos: u64) {
        if let Some(time_to_head) = &self.time_to_head {
            time_to_head.observe_nanos(nanos);
        }
    }

    #[inline]
    pub(crate) fn record(&self, end: &CallEnd, measured: Measurements, config: &Config) {
        let result = (end.status(), end.outcome());
        if result.1 != Outcome::Success
            && let Some(reason) = end.rejection_reason()
        {
            self.count_rejection(reason, config);
        }
        for slot in &self.results {
            let (known, series) = slot.get_or_init(|| {
                let (status, outcome) = result;
                let status = status_label(self.kind, status);
                (result, self.result_series(config, &status, outcome))
            });
            if *known == result {
                return series.record(end, measured);
            }
        }
        self.record_overflow(end, measured, config);
    }

    /// Not inlined, to keep the code of admitted calls small.
    #[inline(never)]
    fn count_rejection(&self, reason: RejectionReason, config: &Config) {
        if let Some(slot) = self.rejected.get(reason as usize) {
            let counter = slot.get_or_init(|| {
                let mut labels = self.kind.labels(config.side, &self.operation);
                labels.push(("reason", reason.as_str()));
                config.counter(self.kind.metrics(config.side).rejected, &labels)
            });
            counter.add(1);
        }
    }

    #[cold]
    fn record_overflow(&self, end: &CallEnd, measured: Measurements, config: &Config) {
        let outcome = end.outcome();
        for slot in &self.overflow {
            let (known, series) =
                slot.get_or_init(|| (outcome, self.result_series(config, OVERFLOW, outcome)));
            if *known == outcome {
                return series.record(end, measured);
            }
        }
    }

    #[cold]
    fn result_series(&self, config: &Config, status: &str, outcome: Outcome) -> ResultSeries {
        let metrics = self.kind.metrics(config.side);
        let mut labels = self.kind.labels(config.side, &self.operation);
        let status_label = self.kind.status_label_name();
        labels.extend(status_label.map(|label| (label, status)));
        labels.push(("outcome", outcome.as_str()));
        let sizes = config.body_buckets.as_ref().map(|buckets| {
            let size = |metric: Option<&MetricDescriptor>| {
                metric.map(|metric| config.histogram(metric, &labels, buckets))
            };
            Box::new(SizeSeries {
                request: size(metrics.request_size),
                response: size(metrics.response_size),
            })
        });
        ResultSeries {
            duration: config.histogram(metrics.duration, &labels, &config.buckets),
            sizes,
        }
    }
}

impl ResultSeries {
    #[inline]
    fn record(&self, end: &CallEnd, measured: Measurements) {
        self.duration.observe_nanos(measured.nanos);
        if let Some(sizes) = &self.sizes {
            sizes.record(end, measured.request_size);
        }
    }
}

impl SizeSeries {
    /// Records the sizes; a call without a response head has no response size.
    #[inline(never)]
    fn record(&self, end: &CallEnd, request_size: u64) {
        if let Some(size) = &self.request
            && request_size != Measurements::UNKNOWN
        {
            size.observe(request_size as f64);
        }
        if let Some(size) = &self.response
            && end.has_head()
        {
            size.observe(end.bytes() as f64);
        }
    }
}
