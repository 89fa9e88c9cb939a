use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use towerkit_core::{Call, CallEnd, Clock, Observer, Policy, Status};

use crate::{
    Counter,
    names::{Kind, OTHER, Side},
    series::{Measures, Series, Source},
    table::Table,
};

/// Records calls: the policy behind [`MetricsLayer`](crate::MetricsLayer).
#[derive(Debug, Clone)]
pub struct MetricsObserver {
    pub(crate) state: Arc<State>,
    pub(crate) clock: Clock,
}

/// What is kept of one call.
#[derive(Debug)]
pub struct MetricsCallState {
    start: u64,
    place: Place,
    /// The declared length of the request, or [`Measures::UNKNOWN`].
    request: u64,
    /// The name of a gRPC method that no answer has confirmed yet, behind one word, since there hardly ever is one.
    ///
    /// It is whatever the caller put into the path, so it becomes a label only once the service has shown that it knows it.
    unproved: Option<Box<Box<str>>>,
}

/// Where the series of an operation stand: its index in the table or, from the top down, the kind of the calls that have none.
///
/// One word, because an enum of the two is copied byte by byte, which stalls every call three times.
#[derive(Debug, Clone, Copy)]
struct Place(u32);

impl Place {
    fn other(kind: Kind) -> Self {
        Self(u32::MAX - u32::from(kind.index()))
    }
}

/// What all services of a layer share.
pub(crate) struct State {
    pub(crate) source: Source,
    pub(crate) most: u16,
    known: Table<Series>,
    others: [OnceLock<Others>; Kind::COUNT],
    dropped: AtomicU64,
}

/// The series of all operations that have none of their own, and the count of those that should.
#[derive(Debug)]
struct Others {
    series: Series,
    dropped: Arc<dyn Counter>,
}

impl State {
    pub(crate) fn new(source: Source, most: u16) -> Self {
        Self {
            source,
            most,
            known: Table::new(most),
            others: Default::default(),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn operations(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    #[inline]
    fn series(&self, place: Place) -> Option<&Series> {
        self.known.get(place.0).or_else(|| self.other(place))
    }

    #[cold]
    fn other(&self, place: Place) -> Option<&Series> {
        let kind = u8::try_from(u32::MAX - place.0).ok().map(Kind::at);
        kind.map(|kind| &self.others(kind).series)
    }

    #[cold]
    fn others(&self, kind: Kind) -> &Others {
        self.others[usize::from(kind.index())].get_or_init(|| Others {
            series: self.source.series(kind, OTHER),
            dropped: self.source.dropped(kind),
        })
    }

    /// Finds the place of an operation that was not seen before.
    #[cold]
    fn admit(&self, kind: Kind, operation: &str) -> Place {
        let series = || self.source.series(kind, operation);
        match self.known.insert(kind.index(), operation, series) {
            Some(index) => Place(index),
            None => {
                self.dropped.fetch_add(1, Relaxed);
                self.others(kind).dropped.add(1);
                Place::other(kind)
            }
        }
    }

    /// Finds the place of a call that is over.
    #[cold]
    fn prove(&self, operation: &str, end: &CallEnd) -> Place {
        const UNIMPLEMENTED: u16 = 12;
        let answered = matches!(end.status(), Some(Status::Grpc(code)) if code != UNIMPLEMENTED);
        if end.has_panicked() || answered && end.rejection_reason().is_none() {
            self.admit(Kind::Grpc, operation)
        } else {
            Place::other(Kind::Grpc)
        }
    }
}

impl Policy for MetricsObserver {
    type CallState = MetricsCallState;

    #[inline(always)]
    fn on_response_head(&self, held: &mut MetricsCallState, so_far: &CallEnd) {
        if self.state.source.heads {
            self.headed(held, so_far.now(&self.clock));
        }
    }

    #[inline(always)]
    fn finish(&self, held: MetricsCallState, end: &CallEnd) {
        let nanos = end.now(&self.clock).saturating_sub(held.start);
        let mut series = self.state.series(held.place);
        if let Some(series) = series {
            series.ended();
        }
        if let Some(operation) = held.unproved {
            series = self.state.series(self.state.prove(&operation, end));
        }
        if let Some(series) = series {
            let request = held.request;
            series.observe(end, Measures { nanos, request }, &self.state.source);
        }
    }
}

impl MetricsObserver {
    /// Out of line, since who does not ask for it should not carry its code.
    #[inline(never)]
    fn headed(&self, held: &MetricsCallState, now: u64) {
        if let Some(series) = self.state.series(held.place) {
            series.headed(now.saturating_sub(held.start));
        }
    }

    #[inline(always)]
    fn length<Req>(&self, kind: Kind, call: &Call<'_, Req>) -> u64 {
        if self.state.source.sizes.is_some() && matches!(kind, Kind::Http(_)) {
            // Here, so that the call does not have to stand in memory to be asked elsewhere.
            read_length(call.header("content-length"))
        } else {
            Measures::UNKNOWN
        }
    }
}

#[inline(never)]
fn read_length(declared: Option<&str>) -> u64 {
    let length = declared.and_then(|declared| declared.parse().ok());
    length.unwrap_or(Measures::UNKNOWN)
}

impl<Req> Observer<Req> for MetricsObserver {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> MetricsCallState {
        let start = call.now(&self.clock);
        let kind = Kind::of(call);
        let operation = call.operation();
        let (place, unproved) = match self.state.known.find(kind.index(), operation) {
            Some(index) => (Place(index), None),
            None if kind == Kind::Grpc && self.state.source.side == Side::Server => {
                (Place::other(kind), Some(Box::new(operation.into())))
            }
            None => (self.state.admit(kind, operation), None),
        };
        if let Some(series) = self.state.series(place) {
            series.started();
        }
        MetricsCallState {
            start,
            place,
            request: self.length(kind, call),
            unproved,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("operations", &self.operations())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
