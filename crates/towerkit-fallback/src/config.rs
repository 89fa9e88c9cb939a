use std::{fmt, sync::Arc};

use towerkit_core::{CallEnd, Event, EventQueue, InspectResult, Outcome};

use crate::{FallbackHandle, FellBack};

pub(crate) type Choose = dyn Fn(&CallEnd) -> bool + Send + Sync;

/// What every kind of fallback does alike: to choose, to count and to tell.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    pub(crate) when: Option<Arc<Choose>>,
    pub(crate) outbox: Arc<EventQueue>,
    pub(crate) handle: FallbackHandle,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            name: "fallback",
            when: None,
            outbox: Arc::default(),
            handle: FallbackHandle::new(),
        }
    }

    /// Whether a call that ended so gets another answer.
    #[inline(always)]
    pub(crate) fn chooses(&self, end: &CallEnd) -> bool {
        end.outcome() != Outcome::Success && self.handle.is_enabled() && self.is_chosen(end)
    }

    #[cold]
    fn is_chosen(&self, end: &CallEnd) -> bool {
        match &self.when {
            Some(when) => when(end),
            None => matches!(
                end.outcome(),
                Outcome::Failure | Outcome::Overloaded | Outcome::TimedOut
            ),
        }
    }

    /// Counts and announces the other answer, and marks it as one.
    pub(crate) fn conclude<T, E, X>(
        &self,
        exchange: &X,
        failed: FellBack,
        mut answer: Result<T, E>,
    ) -> Result<T, E>
    where
        X: InspectResult<T, E>,
    {
        let outcome = exchange.inspect(&answer).outcome();
        self.handle.count(outcome);
        self.outbox.push(Event::FallbackUsed {
            name: self.name.into(),
            from: failed.outcome(),
            to: outcome,
        });
        self.outbox.deliver();
        exchange.insert_extension(&mut answer, failed);
        answer
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
