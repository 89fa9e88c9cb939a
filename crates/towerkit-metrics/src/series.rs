use std::sync::{Arc, OnceLock};

use towerkit_core::{CallEnd, Outcome, RejectionReason, Status};

use crate::{
    Buckets, Counter, Gauge, Histogram, Provider,
    instrument::Discard,
    names::{Kind, Metric, OTHER, Side, code},
    registry::{DROPPED, DROPPED_HELP},
};

/// Where the series of a layer come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) buckets: Buckets,
    pub(crate) side: Side,
    /// Whether the time to the head is recorded.
    pub(crate) heads: bool,
    /// The buckets of the sizes of bodies, if they are recorded.
    pub(crate) sizes: Option<Buckets>,
}

/// The series of one operation: how many calls are active, and how long they took, by how they ended.
#[derive(Debug)]
pub(crate) struct Series {
    kind: Kind,
    operation: Box<str>,
    active: Arc<dyn Gauge>,
    head: Option<Arc<dyn Histogram>>,
    ends: [OnceLock<(Ending, Ended)>; ENDS],
    other_ends: [OnceLock<(Outcome, Ended)>; Outcome::ALL.len()],
    rejected: [OnceLock<Arc<dyn Counter>>; RejectionReason::ALL.len()],
}

/// The series of the calls of one operation that ended in the same way.
#[derive(Debug)]
struct Ended {
    duration: Arc<dyn Histogram>,
    sizes: Option<Box<Sizes>>,
}

#[derive(Debug)]
struct Sizes {
    request: Option<Arc<dyn Histogram>>,
    response: Option<Arc<dyn Histogram>>,
}

/// What is recorded of one call at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measures {
    pub(crate) nanos: u64,
    /// The declared length of the request, or [`UNKNOWN`](Self::UNKNOWN).
    pub(crate) request: u64,
}

impl Measures {
    /// No length: no request is as long.
    pub(crate) const UNKNOWN: u64 = u64::MAX;
}

/// The ways to end that have a series each, in the order in which they first occur. The rest share one for each outcome.
const ENDS: usize = 16;

type Ending = (Option<Status>, Outcome);

impl Source {
    pub(crate) fn series(&self, kind: Kind, operation: &str) -> Series {
        let metric = kind.active(self.side);
        let labels = kind.labels(self.side, operation);
        let active = self.provider.gauge(metric.name, metric.help, &labels);
        let head = kind.time_to_head(self.side).filter(|_| self.heads);
        Series {
            kind,
            operation: operation.into(),
            active: active.unwrap_or_else(|_| Arc::new(Discard)),
            head: head.map(|metric| self.histogram(metric, &labels, &self.buckets)),
            ends: Default::default(),
            other_ends: Default::default(),
            rejected: Default::default(),
        }
    }

    /// Resolves the counter of the calls that found no series of their own.
    pub(crate) fn dropped(&self, kind: Kind) -> Arc<dyn Counter> {
        let labels = [("metric", kind.duration(self.side).name)];
        let counter = self.provider.counter(DROPPED, DROPPED_HELP, &labels);
        counter.unwrap_or_else(|_| Arc::new(Discard))
    }

    fn rejected(&self, series: &Series, reason: RejectionReason) -> Arc<dyn Counter> {
        let metric = series.kind.rejected(self.side);
        let mut labels = series.kind.labels(self.side, &series.operation);
        labels.push(("reason", reason.as_str()));
        let counter = self.provider.counter(metric.name, metric.help, &labels);
        counter.unwrap_or_else(|_| Arc::new(Discard))
    }

    #[cold]
    fn ended(&self, series: &Series, code: &str, outcome: Outcome) -> Ended {
        let mut labels = series.kind.labels(self.side, &series.operation);
        labels.extend(series.kind.status().map(|label| (label, code)));
        labels.push(("outcome", outcome.as_str()));
        let sizes = self.sizes.as_ref().map(|buckets| {
            let size = |metric: Option<Metric>| {
                metric.map(|metric| self.histogram(metric, &labels, buckets))
            };
            let [request, response] = series.kind.sizes(self.side).map(size);
            Box::new(Sizes { request, response })
        });
        Ended {
            duration: self.histogram(series.kind.duration(self.side), &labels, &self.buckets),
            sizes,
        }
    }

    fn histogram(
        &self,
        metric: Metric,
        labels: &[(&str, &str)],
        buckets: &Buckets,
    ) -> Arc<dyn Histogram> {
        let histogram = self
            .provider
            .histogram(metric.name, metric.help, labels, buckets);
        histogram.unwrap_or_else(|_| Arc::new(Discard))
    }
}

impl Series {
    #[inline]
    pub(crate) fn started(&self) {
        self.active.add(1);
    }

    #[inline]
    pub(crate) fn ended(&self) {
        self.active.add(-1);
    }

    #[inline]
    pub(crate) fn headed(&self, nanos: u64) {
        if let Some(head) = &self.head {
            head.observe_nanos(nanos);
        }
    }

    #[inline]
    pub(crate) fn observe(&self, end: &CallEnd, measures: Measures, source: &Source) {
        let ending = (end.status(), end.outcome());
        if ending.1 != Outcome::Success
            && let Some(reason) = end.rejection_reason()
        {
            self.rejected(reason, source);
        }
        for slot in &self.ends {
            let (known, ended) = slot.get_or_init(|| {
                let (status, outcome) = ending;
                let code = code(self.kind, status);
                (ending, source.ended(self, &code, outcome))
            });
            if *known == ending {
                return ended.observe(end, measures);
            }
        }
        self.observe_other(end, measures, source);
    }

    /// Out of line: a rejection is rare, or cheap enough.
    #[inline(never)]
    fn rejected(&self, reason: RejectionReason, source: &Source) {
        if let Some(slot) = self.rejected.get(reason as usize) {
            let counter = slot.get_or_init(|| source.rejected(self, reason));
            counter.add(1);
        }
    }

    #[cold]
    fn observe_other(&self, end: &CallEnd, measures: Measures, source: &Source) {
        let outcome = end.outcome();
        for slot in &self.other_ends {
            let (known, ended) = slot.get_or_init(|| (outcome, source.ended(self, OTHER, outcome)));
            if *known == outcome {
                return ended.observe(end, measures);
            }
        }
    }
}

impl Ended {
    #[inline]
    fn observe(&self, end: &CallEnd, measures: Measures) {
        self.duration.observe_nanos(measures.nanos);
        if let Some(sizes) = &self.sizes {
            sizes.observe(end, measures.request);
        }
    }
}

impl Sizes {
    /// A call that got no head has no response whose size could count.
    #[inline(never)]
    fn observe(&self, end: &CallEnd, request: u64) {
        if let Some(size) = &self.request
            && request != Measures::UNKNOWN
        {
            size.observe(request as f64);
        }
        if let Some(size) = &self.response
            && end.has_head()
        {
            size.observe(end.bytes() as f64);
        }
    }
}
