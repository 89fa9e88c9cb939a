use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::Duration,
};

use towerkit_core::{
    Call, CallEnd, Clock, Hex, Name, Observer, Outcome, Policy, ProtocolKind, RejectionReason,
    Status, TraceIds,
};
use tracing::{Level, Value, level_filters::LevelFilter};

use crate::{
    LogCallState,
    call_state::{CallRecord, ExtraValue},
    callsites::{CallsiteSet, FIELDS},
    config::{ExtraField, LevelFn, level_of},
    handle::Selection,
    sampling::{CallClass, LeftOutCounts},
};

/// The observer of [`LogLayer`](crate::LogLayer), which logs calls at their end.
#[derive(Clone)]
pub struct LogObserver {
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) level: Option<Arc<LevelFn>>,
    pub(crate) selection: Arc<Selection>,
    extra_fields: Arc<[ExtraField]>,
    /// The `tracing` callsites for these fields, created at the first call.
    callsites: OnceLock<&'static CallsiteSet>,
}

/// Logs the number of calls that were left out.
macro_rules! log_left_out {
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
            name: Name::new("call"),
            clock: Clock::default(),
            level: None,
            selection: Arc::new(Selection::all()),
            extra_fields: Arc::default(),
            callsites: OnceLock::new(),
        }
    }

    /// Adds a field, or replaces the field of the same name.
    pub(crate) fn add_field(&mut self, field: ExtraField) {
        let mut fields = self.extra_fields.to_vec();
        fields.retain(|other| other.name != field.name);
        fields.push(field);
        self.extra_fields = fields.into();
        self.callsites = OnceLock::new();
    }

    /// Returns true if a call that starts now may be logged at its end.
    #[inline(never)]
    fn is_enabled(&self) -> bool {
        self.selection.threshold.get() != LevelFilter::OFF && self.callsites().is_any_enabled()
    }

    fn callsites(&self) -> &'static CallsiteSet {
        self.callsites.get_or_init(|| {
            let fields = self.extra_fields.iter();
            let names = fields.filter(|field| !field.is_replacement());
            CallsiteSet::with_extra_fields(&names.map(|field| field.name).collect::<Vec<_>>())
        })
    }

    #[inline(never)]
    fn finish_enabled(&self, state: LogCallState, end: &CallEnd) {
        if let Some(record) = state.record() {
            // This may run while a panic unwinds, and the subscriber is code of the program.
            let _ = catch_unwind(AssertUnwindSafe(|| self.log(record, end)));
        }
        state.return_to_pool();
    }

    fn log(&self, record: &CallRecord, end: &CallEnd) {
        let level = self.level_of(end);
        if level > self.selection.threshold.get() {
            return;
        }
        let now = end.now(&self.clock);
        let sampler = &self.selection.sampler;
        if let Some(counts) = sampler.take_report(now) {
            self.report_left_out(counts);
        }
        if !sampler.samples(CallClass::of(end), now) {
            return;
        }
        let nanos = now.saturating_sub(record.start);
        self.emit(level, record, end, nanos);
    }

    /// Dispatches the event of a call to the subscriber.
    fn emit(&self, level: Level, record: &CallRecord, end: &CallEnd, nanos: u64) {
        let ids = TraceIds::current();
        let trace = ids.map(|ids| Hex::<32>::new(&ids.trace));
        let span = ids.map(|ids| Hex::<16>::new(&ids.span));
        let [trace, span] = [
            trace.as_ref().map(Hex::as_str),
            span.as_ref().map(Hex::as_str),
        ];
        let name = self.name.as_str();
        let [method, path] = [non_empty(&record.method), non_empty(&record.path)];
        let [client, request_id] = [
            non_empty(&record.client_address),
            non_empty(&record.request_id),
        ];
        let outcome = end.outcome();
        let (status, code) = (http_status(end), rpc_code(record, end));
        let bytes = bytes(record, end);
        let cancelled = only_true(outcome == Outcome::Cancelled);
        let panicked = only_true(end.has_panicked());
        let rejected = end.rejection_reason().map(RejectionReason::as_str);
        let deadline = record.time_left.map(|left| millis(saturating_nanos(left)));
        let (outcome, latency) = (outcome.as_str(), millis(nanos));
        // In the order of `FIELDS`.
        let fields: [Option<&dyn Value>; FIELDS.len()] = [
            Some(&name),
            Some(&record.operation),
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
        let callsites = self.callsites();
        match record.extra_values.get(..callsites.extra_fields()) {
            None | Some([]) => callsites.dispatch(level, &fields),
            Some(extra) => dispatch_with_extra(callsites, level, &fields, extra),
        }
    }

    #[cold]
    fn report_left_out(&self, counts: LeftOutCounts) {
        let name = self.name.as_str();
        let LeftOutCounts {
            successes,
            rejected,
        } = counts;
        match rejected {
            0 => log_left_out!(Level::INFO, name, successes),
            _ => log_left_out!(Level::WARN, name, successes + rejected, rejected),
        }
    }

    fn level_of(&self, end: &CallEnd) -> Level {
        let chosen = self.level.as_ref().and_then(|level| {
            let level = AssertUnwindSafe(|| level(end));
            catch_unwind(level).ok()
        });
        chosen.unwrap_or_else(|| level_of(end))
    }
}

impl Policy for LogObserver {
    type CallState = LogCallState;

    #[inline(always)]
    fn finish(&self, state: LogCallState, end: &CallEnd) {
        if !state.is_disabled() {
            self.finish_enabled(state, end);
        }
    }
}

impl<Req> Observer<Req> for LogObserver {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> LogCallState {
        // The fast path without a subscriber ends here.
        if LevelFilter::current() == LevelFilter::OFF || !self.is_enabled() {
            return LogCallState::disabled();
        }
        let start = call.now(&self.clock);
        LogCallState::begin(call, start, &self.extra_fields)
    }
}

fn http_status(end: &CallEnd) -> Option<u16> {
    match end.status() {
        Some(Status::Http(status)) => Some(status),
        _ => None,
    }
}

/// Returns the gRPC code, or the number of a JSON-RPC error.
fn rpc_code(record: &CallRecord, end: &CallEnd) -> Option<i64> {
    let status = end.status()?;
    match status {
        _ if record.protocol == Some(ProtocolKind::JsonRpc) => {
            status.json_rpc_number().map(i64::from)
        }
        Status::Grpc(code) => Some(i64::from(code)),
        _ => None,
    }
}

fn bytes(record: &CallRecord, end: &CallEnd) -> Option<u64> {
    let has_body = matches!(
        record.protocol,
        Some(ProtocolKind::Http | ProtocolKind::Grpc)
    );
    has_body.then(|| end.bytes())
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Converts nanoseconds to milliseconds, rounded down to whole microseconds.
fn millis(nanos: u64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

fn only_true(condition: bool) -> Option<bool> {
    condition.then_some(true)
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn value<T: Value>(field: &Option<T>) -> Option<&dyn Value> {
    field.as_ref().map(|field| {
        let field: &dyn Value = field;
        field
    })
}

/// Dispatches an event with fields of the application; up to 16 of them need no allocation.
#[inline(never)]
fn dispatch_with_extra(
    callsites: &'static CallsiteSet,
    level: Level,
    fields: &[Option<&dyn Value>],
    extra: &[ExtraValue],
) {
    const INLINE: usize = FIELDS.len() + 16;
    let extra = extra.iter().map(|extra| {
        let text: &dyn Value = &extra.text;
        Some(text).filter(|_| extra.is_present)
    });
    let length = fields.len() + extra.len();
    let all = fields.iter().copied().chain(extra);
    if length > INLINE {
        return callsites.dispatch(level, &all.collect::<Vec<_>>());
    }
    let mut inline = [None; INLINE];
    inline
        .iter_mut()
        .zip(all)
        .for_each(|(slot, field)| *slot = field);
    callsites.dispatch(level, &inline[..length]);
}

impl fmt::Debug for LogObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogObserver")
            .field("name", &self.name)
            .field("level", &self.selection.threshold)
            .finish_non_exhaustive()
    }
}
