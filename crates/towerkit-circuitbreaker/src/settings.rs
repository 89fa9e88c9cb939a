use std::{
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use towerkit_core::{Clock, End, EventSink};

use crate::{Trip, Verdict};

/// What a breaker is told before it is shared.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) trip: Trip,
    pub(crate) open_for: Duration,
    pub(crate) probes: NonZeroU16,
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
    pub(crate) verdict: Option<Arc<Judge>>,
}

type Judge = dyn Fn(&End) -> Verdict + Send + Sync;

impl Settings {
    #[inline]
    pub(crate) fn verdict(&self, end: &End) -> Verdict {
        match &self.verdict {
            None => Verdict::of(end),
            Some(verdict) => ask(&**verdict, end),
        }
    }
}

/// Asks the user's function, except about a panic, which is a failure. Should it panic itself, the call is judged without it.
///
/// A call may end because a panic unwinds through it. A second panic, let through, would abort the process.
fn ask(verdict: &Judge, end: &End) -> Verdict {
    if end.panicked() {
        return Verdict::Failure;
    }
    catch_unwind(AssertUnwindSafe(|| verdict(end))).unwrap_or_else(|_| Verdict::of(end))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trip: Trip::default(),
            open_for: Duration::from_secs(10),
            probes: NonZeroU16::MIN,
            name: "circuitbreaker",
            clock: Clock::default(),
            sink: None,
            verdict: None,
        }
    }
}
