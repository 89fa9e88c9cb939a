use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use towerkit_core::{CallEnd, Clock, EventSink};

use crate::{CircuitBreakerOptions, CountAs};

/// What a breaker is told before it is shared.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) options: CircuitBreakerOptions,
    pub(crate) seed: Option<u64>,
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
    pub(crate) verdict: Option<Arc<Judge>>,
    /// Whether services are not ready while the breaker rejects.
    pub(crate) backpressure: bool,
}

type Judge = dyn Fn(&CallEnd) -> CountAs + Send + Sync;

impl Settings {
    #[inline]
    pub(crate) fn verdict(&self, end: &CallEnd) -> CountAs {
        match &self.verdict {
            None => CountAs::of(end),
            Some(verdict) => ask(&**verdict, end),
        }
    }
}

/// Asks the user's function, except about a panic, which is a failure. Should it panic itself, the call is judged without it.
///
/// A call may end because a panic unwinds through it. A second panic, let through, would abort the process.
fn ask(verdict: &Judge, end: &CallEnd) -> CountAs {
    if end.has_panicked() {
        return CountAs::Failure;
    }
    catch_unwind(AssertUnwindSafe(|| verdict(end))).unwrap_or_else(|_| CountAs::of(end))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            options: CircuitBreakerOptions::default(),
            seed: None,
            name: "circuitbreaker",
            clock: Clock::default(),
            sink: None,
            verdict: None,
            backpressure: false,
        }
    }
}
