use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::Duration,
};

use towerkit_core::{
    Call, CallEnd, Clock, Hex, Observer, Outcome, Policy, ProtocolKind, RejectionReason, Status,
    TraceIds,
};
use tracing::{Level, Value, level_filters::LevelFilter};

use crate::{
    LogCallState,
    kept::{Kept, Own},
    layer::Chosen,
    level_of,
    own_field::OwnField,
    sampling::{Kind, Report},
    sites::{FIELDS, Sites},
};

/// Logs calls: the policy behind [`LogLayer`](crate::LogLayer).
#[derive(Clone)]
pub struct LogObserver {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) level: Option<Arc<ChooseLevel>>,
    pub(crate) chosen: Arc<Chosen>,
    /// The fields that the application adds.
    own: Arc<[OwnField]>,
    /// The events with these fields.
    sites: OnceLock<&'static Sites>,
}

/// Chooses the level of a call at its end.
pub(crate) type ChooseLevel = dyn Fn(&CallEnd) -> Level + Send + Sync;

/// Logs how many calls were left out.
macro_rules! left_out {
    ($level:expr, $name:expr, $count:expr $(, $rejected:ident)?) => {
        tracing::event!(
            target: "towerkit::call",
            $level,
            message = "calls left out",
            name = $name,
            left_out = $count,
            $($rejected)?
        )
    };
}

impl LogObserver {
    pub(crate) fn new() -> Self {
        Self {
            name: "call",
            clock: Clock::default(),
            level: None,
            chosen: Arc::new(Chosen::all()),
            own: Arc::default(),
            sites: OnceLock::new(),
        }
    }

    /// Whether a call that starts now can be logged at its end.
    #[inline(never)]
    fn is_enabled(&self) -> bool {
        self.chosen.threshold.get() != LevelFilter::OFF && self.sites().is_any_enabled()
    }

    fn sites(&self) -> &'static Sites {
        self.sites.get_or_init(|| {
            let own = self.own.iter().filter(|field| !field.takes_a_place());
            Sites::with(&own.map(|field| field.name).collect::<Vec<_>>())
        })
    }

    /// Adds a field, or changes the one of that name.
    pub(crate) fn add(&mut self, field: OwnField) {
        let mut own = self.own.to_vec();
        own.retain(|other| other.name != field.name);
        own.push(field);
        self.own = own.into();
        self.sites = OnceLock::new();
    }

    #[inline(never)]
    fn log_and_give_back(&self, held: LogCallState, end: &CallEnd) {
        if let Some(kept) = held.kept() {
            // This may run while a panic unwinds, and a subscriber is whatever the program installed.
            let _ = catch_unwind(AssertUnwindSafe(|| self.log(kept, end)));
        }
        held.give_back();
    }

    fn log(&self, kept: &Kept, end: &CallEnd) {
        let level = self.level_of(end);
        if level > self.chosen.threshold.get() {
            return;
        }
        let now = end.now(&self.clock);
        if let Some(report) = self.chosen.sampler.report(now) {
            self.log_left_out(report);
        }
        if !self.chosen.sampler.takes(Kind::of(end), now) {
            return;
        }
        let nanos = now.saturating_sub(kept.start);
        self.tell(level, kept, end, nanos);
    }

    /// Tells the subscriber of a call.
    fn tell(&self, level: Level, kept: &Kept, end: &CallEnd, nanos: u64) {
        let ids = TraceIds::current();
        let trace = ids.map(|ids| Hex::<32>::new(&ids.trace));
        let span = ids.map(|ids| Hex::<16>::new(&ids.span));
        let [trace, span] = [
            trace.as_ref().map(Hex::as_str),
            span.as_ref().map(Hex::as_str),
        ];
        let [method, path] = [text(&kept.method), text(&kept.path)];
        let [client, request_id] = [text(&kept.client_address), text(&kept.request_id)];
        let outcome = end.outcome();
        let (status, code) = (http_status(end), grpc_code(end));
        let bytes = bytes(kept, end);
        let cancelled = only_true(outcome == Outcome::Cancelled);
        let panicked = only_true(end.has_panicked());
        let rejected = end.rejection_reason().map(RejectionReason::as_str);
        let deadline = kept.left.map(|left| millis(nanos_of(left)));
        let (outcome, latency) = (outcome.as_str(), millis(nanos));
        let fields: [Option<&dyn Value>; FIELDS.len()] = [
            Some(&self.name),
            Some(&kept.operation),
            value(&method),
            value(&path),
            value(&status),
            value(&code),
            Some(&outcome),
            Some(&latency),
            value(&bytes),
            value(&cancelled),
            value(&panicked),
            value(&rejected),
            value(&deadline),
            value(&client),
            value(&request_id),
            value(&trace),
            value(&span),
        ];
        let sites = self.sites();
        match kept.own.get(..sites.own()) {
            None | Some([]) => sites.tell(level, &fields),
            Some(own) => tell_with(sites, level, &fields, own),
        }
    }

    #[cold]
    fn log_left_out(
        &self,
        Report {
            successes,
            rejected,
        }: Report,
    ) {
        match rejected {
            0 => left_out!(Level::INFO, self.name, successes),
            _ => left_out!(Level::WARN, self.name, successes + rejected, rejected),
        }
    }

    fn level_of(&self, end: &CallEnd) -> Level {
        let own = self.level.as_ref().and_then(|level| {
            let level = AssertUnwindSafe(|| level(end));
            catch_unwind(level).ok()
        });
        own.unwrap_or_else(|| level_of(end))
    }
}

impl Policy for LogObserver {
    type CallState = LogCallState;

    #[inline(always)]
    fn finish(&self, held: LogCallState, end: &CallEnd) {
        if !held.is_nothing() {
            self.log_and_give_back(held, end);
        }
    }
}

impl<Req> Observer<Req> for LogObserver {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> LogCallState {
        // Where there is no subscriber this is all.
        if LevelFilter::current() == LevelFilter::OFF || !self.is_enabled() {
            return LogCallState::nothing();
        }
        let start = call.now(&self.clock);
        LogCallState::keep(call, start, &self.own)
    }
}

fn http_status(end: &CallEnd) -> Option<u16> {
    match end.status() {
        Some(Status::Http(status)) => Some(status),
        _ => None,
    }
}

fn grpc_code(end: &CallEnd) -> Option<u16> {
    match end.status() {
        Some(Status::Grpc(code)) => Some(code),
        _ => None,
    }
}

fn nanos_of(left: Duration) -> u64 {
    u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole microseconds, as milliseconds.
fn millis(nanos: u64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

fn bytes(kept: &Kept, end: &CallEnd) -> Option<u64> {
    (kept.kind != Some(ProtocolKind::Plain)).then(|| end.bytes())
}

fn only_true(condition: bool) -> Option<bool> {
    condition.then_some(true)
}

/// Tells of the application's fields as well; of a few without an allocation.
#[inline(never)]
fn tell_with(sites: &'static Sites, level: Level, fields: &[Option<&dyn Value>], own: &[Own]) {
    const FEW: usize = FIELDS.len() + 16;
    let own = own.iter().map(|own| {
        let text: &dyn Value = &own.text;
        Some(text).filter(|_| own.is_there)
    });
    let length = fields.len() + own.len();
    let all = fields.iter().copied().chain(own);
    if length > FEW {
        return sites.tell(level, &all.collect::<Vec<_>>());
    }
    let mut few = [None; FEW];
    few.iter_mut()
        .zip(all)
        .for_each(|(place, field)| *place = field);
    sites.tell(level, &few[..length]);
}

fn text(kept: &str) -> Option<&str> {
    Some(kept).filter(|text| !text.is_empty())
}

fn value<T: Value>(field: &Option<T>) -> Option<&dyn Value> {
    field.as_ref().map(|field| {
        let field: &dyn Value = field;
        field
    })
}

impl fmt::Debug for LogObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogObserver")
            .field("name", &self.name)
            .field("level", &self.chosen.threshold)
            .finish_non_exhaustive()
    }
}
