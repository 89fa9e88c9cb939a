use std::sync::{Arc, OnceLock};

use towerkit_core::{End, Outcome, Status};

use crate::{
    Buckets, Counter, Gauge, Histogram, Provider,
    instrument::Discard,
    names::{Kind, OTHER, Side, code},
    registry::{DROPPED, DROPPED_HELP},
};

/// Where the series of a layer come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) buckets: Buckets,
    pub(crate) side: Side,
}

/// The series of one operation: how many calls are active, and how long they took, by how they ended.
#[derive(Debug)]
pub(crate) struct Series {
    kind: Kind,
    operation: Box<str>,
    active: Arc<dyn Gauge>,
    ends: [OnceLock<(Ending, Arc<dyn Histogram>)>; ENDS],
    other_ends: [OnceLock<(Outcome, Arc<dyn Histogram>)>; Outcome::ALL.len()],
}

/// The ways to end that have a series each, in the order in which they first occur. The rest share one for each outcome.
const ENDS: usize = 16;

type Ending = (Option<Status>, Outcome);

impl Source {
    pub(crate) fn series(&self, kind: Kind, operation: &str) -> Series {
        let metric = kind.active(self.side);
        let labels = kind.labels(self.side, operation);
        let active = self.provider.gauge(metric.name, metric.help, &labels);
        Series {
            kind,
            operation: operation.into(),
            active: active.unwrap_or_else(|_| Arc::new(Discard)),
            ends: Default::default(),
            other_ends: Default::default(),
        }
    }

    /// Resolves the counter of the calls that found no series of their own.
    pub(crate) fn dropped(&self, kind: Kind) -> Arc<dyn Counter> {
        let labels = [("metric", kind.duration(self.side).name)];
        let counter = self.provider.counter(DROPPED, DROPPED_HELP, &labels);
        counter.unwrap_or_else(|_| Arc::new(Discard))
    }

    fn duration(&self, series: &Series, code: &str, outcome: Outcome) -> Arc<dyn Histogram> {
        let metric = series.kind.duration(self.side);
        let mut labels = series.kind.labels(self.side, &series.operation);
        labels.extend(series.kind.status().map(|label| (label, code)));
        labels.push(("outcome", outcome.as_str()));
        let duration = self
            .provider
            .histogram(metric.name, metric.help, &labels, &self.buckets);
        duration.unwrap_or_else(|_| Arc::new(Discard))
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
    pub(crate) fn observe(&self, end: &End, nanos: u64, source: &Source) {
        let ending = (end.status(), end.outcome());
        for slot in &self.ends {
            let (known, duration) = slot.get_or_init(|| {
                let (status, outcome) = ending;
                (
                    ending,
                    source.duration(self, &code(self.kind, status), outcome),
                )
            });
            if *known == ending {
                return duration.observe_nanos(nanos);
            }
        }
        self.observe_other(end.outcome(), nanos, source);
    }

    #[cold]
    fn observe_other(&self, outcome: Outcome, nanos: u64, source: &Source) {
        for slot in &self.other_ends {
            let (known, duration) =
                slot.get_or_init(|| (outcome, source.duration(self, OTHER, outcome)));
            if *known == outcome {
                return duration.observe_nanos(nanos);
            }
        }
    }
}
