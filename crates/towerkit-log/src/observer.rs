use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use towerkit_core::{
    Call, Clock, End, Observer, Outcome, Policy, ProtocolKind, Reason, Status, TraceIds,
};
use tracing::{Level, level_filters::LevelFilter};

use crate::{
    LogHeld,
    kept::Kept,
    layer::Chosen,
    level_of,
    sampling::{Kind, Report},
};

/// Logs calls: the role behind [`LogLayer`](crate::LogLayer).
#[derive(Clone)]
pub struct Log {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) level: Option<Arc<ChooseLevel>>,
    pub(crate) chosen: Arc<Chosen>,
}

/// Chooses the level of a call at its end.
pub(crate) type ChooseLevel = dyn Fn(&End) -> Level + Send + Sync;

/// Logs one call; a level is part of what is static of an event.
macro_rules! event {
    ($level:expr, $message:expr, $kept:expr, $end:expr, $nanos:expr, $ids:expr) => {
        tracing::event!(
            target: "towerkit::call",
            $level,
            message = $message,
            operation = $kept.operation.as_str(),
            method = Some($kept.method.as_str()).filter(|method| !method.is_empty()),
            status = http_status($end),
            code = grpc_code($end),
            outcome = $end.outcome().as_str(),
            latency_ms = millis($nanos),
            bytes = bytes($kept, $end),
            cancelled = only_true($end.outcome() == Outcome::Cancelled),
            panicked = only_true($end.panicked()),
            refused = $end.refused().map(Reason::as_str),
            deadline_ms = $kept.left.map(|left| millis(nanos(left))),
            trace_id = $ids.map(|ids| display(Hex(ids.trace))),
            span_id = $ids.map(|ids| display(Hex(ids.span))),
        )
    };
}

/// Logs how many calls were left out.
macro_rules! left_out {
    ($level:expr, $name:expr, $count:expr $(, $refused:ident)?) => {
        tracing::event!(
            target: "towerkit::call",
            $level,
            message = "calls left out",
            name = $name,
            left_out = $count,
            $($refused)?
        )
    };
}

macro_rules! is_any_enabled {
    ($($level:expr),*) => {
        $(tracing::event_enabled!(target: "towerkit::call", $level))||*
    };
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            name: "call",
            clock: Clock::default(),
            level: None,
            chosen: Arc::new(Chosen::all()),
        }
    }

    /// Whether a call that starts now can be logged at its end.
    #[inline(never)]
    fn is_enabled(&self) -> bool {
        self.chosen.threshold.get() != LevelFilter::OFF
            && is_any_enabled!(
                Level::ERROR,
                Level::WARN,
                Level::INFO,
                Level::DEBUG,
                Level::TRACE
            )
    }

    #[inline(never)]
    fn log_and_give_back(&self, held: LogHeld, end: &End) {
        if let Some(kept) = held.kept() {
            // This may run while a panic unwinds, and a subscriber is whatever the program installed.
            let _ = catch_unwind(AssertUnwindSafe(|| self.log(kept, end)));
        }
        held.give_back();
    }

    fn log(&self, kept: &Kept, end: &End) {
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
        let ids = TraceIds::current();
        match level {
            Level::ERROR => event!(Level::ERROR, self.name, kept, end, nanos, ids),
            Level::WARN => event!(Level::WARN, self.name, kept, end, nanos, ids),
            Level::INFO => event!(Level::INFO, self.name, kept, end, nanos, ids),
            Level::DEBUG => event!(Level::DEBUG, self.name, kept, end, nanos, ids),
            Level::TRACE => event!(Level::TRACE, self.name, kept, end, nanos, ids),
        }
    }

    #[cold]
    fn log_left_out(&self, Report { successes, refused }: Report) {
        match refused {
            0 => left_out!(Level::INFO, self.name, successes),
            _ => left_out!(Level::WARN, self.name, successes + refused, refused),
        }
    }

    fn level_of(&self, end: &End) -> Level {
        let own = self.level.as_ref().and_then(|level| {
            let level = AssertUnwindSafe(|| level(end));
            catch_unwind(level).ok()
        });
        own.unwrap_or_else(|| level_of(end))
    }
}

impl Policy for Log {
    type Held = LogHeld;

    #[inline(always)]
    fn finish(&self, held: LogHeld, end: &End) {
        if !held.is_nothing() {
            self.log_and_give_back(held, end);
        }
    }
}

impl<Req> Observer<Req> for Log {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> LogHeld {
        // Where there is no subscriber this is all.
        if LevelFilter::current() == LevelFilter::OFF || !self.is_enabled() {
            return LogHeld::nothing();
        }
        let start = call.now(&self.clock);
        LogHeld::keep(call, start)
    }
}

fn http_status(end: &End) -> Option<u16> {
    match end.status() {
        Some(Status::Http(status)) => Some(status),
        _ => None,
    }
}

fn grpc_code(end: &End) -> Option<u16> {
    match end.status() {
        Some(Status::Grpc(code)) => Some(code),
        _ => None,
    }
}

fn nanos(left: Duration) -> u64 {
    u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole microseconds, as milliseconds.
fn millis(nanos: u64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

fn bytes(kept: &Kept, end: &End) -> Option<u64> {
    (kept.kind != Some(ProtocolKind::Plain)).then(|| end.bytes())
}

fn only_true(condition: bool) -> Option<bool> {
    condition.then_some(true)
}

/// An id, as traces are looked up by.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("name", &self.name)
            .field("level", &self.chosen.threshold)
            .finish_non_exhaustive()
    }
}
