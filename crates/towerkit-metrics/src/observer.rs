use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use towerkit_core::{Call, CallEnd, Clock, Observer, Policy, Side, Status};

use crate::{
    Counter,
    call_kind::{CallKind, OVERFLOW},
    config::Config,
    metric_table::DROPPED,
    series::{Measurements, OperationSeries},
    series_table::SeriesTable,
};

/// Records calls: the [`Policy`] of a [`MetricsLayer`](crate::MetricsLayer).
#[derive(Debug, Clone)]
pub struct MetricsObserver {
    pub(crate) state: Arc<MetricsState>,
    pub(crate) clock: Clock,
}

/// The state of one call, from [`Observer::start`] to [`Policy::finish`].
#[derive(Debug)]
pub struct MetricsCallState {
    start: u64,
    series: SeriesIndex,
    /// The declared length of the request, or [`Measurements::UNKNOWN`].
    request_size: u64,
    /// A gRPC method without series, in one word because it is rarely there.
    ///
    /// The caller chose this text, so it becomes a label only after a response has shown that the service implements the method.
    unconfirmed_method: Option<Box<Box<str>>>,
}

/// The index of an [`OperationSeries`]: in the [`SeriesTable`] or, counted down from the top, of the overflow series of a [`CallKind`].
///
/// One word, because an enum of both is copied byte by byte, which stalls every call three times.
#[derive(Debug, Clone, Copy)]
struct SeriesIndex(u32);

impl SeriesIndex {
    fn overflow(kind: CallKind) -> Self {
        Self(u32::MAX - u32::from(kind.index()))
    }
}

/// The state that all services of a layer share.
pub(crate) struct MetricsState {
    pub(crate) config: Config,
    table: SeriesTable<OperationSeries>,
    overflow: [OnceLock<OverflowSeries>; CallKind::COUNT],
    overflowed: AtomicU64,
}

/// The series of all operations of a kind that have none of their own, and the counter of their calls.
#[derive(Debug)]
struct OverflowSeries {
    series: OperationSeries,
    dropped: Arc<dyn Counter>,
}

impl MetricsState {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            table: SeriesTable::new(config.max_operations),
            config,
            overflow: Default::default(),
            overflowed: AtomicU64::new(0),
        }
    }

    pub(crate) fn operations(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    #[inline]
    fn series(&self, index: SeriesIndex) -> Option<&OperationSeries> {
        self.table
            .get(index.0)
            .or_else(|| self.overflow_series(index))
    }

    #[cold]
    fn overflow_series(&self, index: SeriesIndex) -> Option<&OperationSeries> {
        let kind = u8::try_from(u32::MAX - index.0).ok()?;
        Some(&self.overflow(CallKind::from_index(kind)).series)
    }

    #[cold]
    fn overflow(&self, kind: CallKind) -> &OverflowSeries {
        self.overflow[usize::from(kind.index())].get_or_init(|| {
            let duration = kind.metrics(self.config.side).duration;
            OverflowSeries {
                series: OperationSeries::new(&self.config, kind, OVERFLOW),
                dropped: self.config.counter(&DROPPED, &[("metric", duration.name)]),
            }
        })
    }

    /// Returns the index of a new operation, which gets series of its own if the table is not full.
    #[cold]
    fn insert(&self, kind: CallKind, operation: &str) -> SeriesIndex {
        let series = || OperationSeries::new(&self.config, kind, operation);
        match self.table.insert(kind.index(), operation, series) {
            Some(index) => SeriesIndex(index),
            None => {
                self.overflowed.fetch_add(1, Relaxed);
                self.overflow(kind).dropped.add(1);
                SeriesIndex::overflow(kind)
            }
        }
    }

    /// Returns the index of a gRPC method, which gets series of its own if the end of the call shows that the service implements it.
    #[cold]
    fn confirm(&self, method: &str, end: &CallEnd) -> SeriesIndex {
        const UNIMPLEMENTED: u16 = 12;
        let answered = matches!(end.status(), Some(Status::Grpc(code)) if code != UNIMPLEMENTED);
        if end.has_panicked() || answered && end.rejection_reason().is_none() {
            self.insert(CallKind::Grpc, method)
        } else {
            SeriesIndex::overflow(CallKind::Grpc)
        }
    }
}

impl Policy for MetricsObserver {
    type CallState = MetricsCallState;

    #[inline(always)]
    fn on_response_head(&self, call: &mut MetricsCallState, so_far: &CallEnd) {
        if self.state.config.time_to_head {
            self.record_time_to_head(call, so_far.now(&self.clock));
        }
    }

    #[inline(always)]
    fn finish(&self, call: MetricsCallState, end: &CallEnd) {
        let nanos = end.now(&self.clock).saturating_sub(call.start);
        let mut series = self.state.series(call.series);
        if let Some(series) = series {
            series.decrement_active();
        }
        if let Some(method) = call.unconfirmed_method {
            series = self.state.series(self.state.confirm(&method, end));
        }
        if let Some(series) = series {
            let request_size = call.request_size;
            let measured = Measurements {
                nanos,
                request_size,
            };
            series.record(end, measured, &self.state.config);
        }
    }
}

impl MetricsObserver {
    /// Not inlined, because few users enable [`time_to_head`](crate::MetricsLayer::time_to_head).
    #[inline(never)]
    fn record_time_to_head(&self, call: &MetricsCallState, now: u64) {
        if let Some(series) = self.state.series(call.series) {
            series.record_time_to_head(now.saturating_sub(call.start));
        }
    }

    #[inline(always)]
    fn request_size<Req>(&self, kind: CallKind, call: &Call<'_, Req>) -> u64 {
        if self.state.config.body_buckets.is_some() && matches!(kind, CallKind::Http(_)) {
            // The header is read here, so that the call itself need not be stored in memory for a function that is not inlined.
            parse_length(call.header("content-length"))
        } else {
            Measurements::UNKNOWN
        }
    }
}

#[inline(never)]
fn parse_length(declared: Option<&str>) -> u64 {
    let length = declared.and_then(|declared| declared.parse().ok());
    length.unwrap_or(Measurements::UNKNOWN)
}

impl<Req> Observer<Req> for MetricsObserver {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> MetricsCallState {
        let start = call.now(&self.clock);
        let kind = CallKind::of(call);
        let operation = call.operation();
        let (index, unconfirmed_method) = match self.state.table.find(kind.index(), operation) {
            Some(index) => (SeriesIndex(index), None),
            None if kind == CallKind::Grpc && self.state.config.side == Side::Server => (
                SeriesIndex::overflow(kind),
                Some(Box::new(operation.into())),
            ),
            None => (self.state.insert(kind, operation), None),
        };
        if let Some(series) = self.state.series(index) {
            series.increment_active();
        }
        MetricsCallState {
            start,
            series: index,
            request_size: self.request_size(kind, call),
            unconfirmed_method,
        }
    }
}

impl fmt::Debug for MetricsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsState")
            .field("operations", &self.operations())
            .field("overflowed", &self.overflowed())
            .finish_non_exhaustive()
    }
}
