use std::{fmt, sync::Arc};

use towerkit_core::{CallEnd, Event, EventQueue, InspectResult, Name, Outcome};

use crate::{FallbackHandle, FallbackUsed};

pub(crate) type Condition = dyn Fn(&CallEnd) -> bool + Send + Sync;

/// The options of a layer, and the steps that all kinds of fallback share.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) name: Name,
    pub(crate) when: Option<Arc<Condition>>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) handle: FallbackHandle,
}

impl Config {
    pub(crate) fn new() -> Self {
        Self {
            name: Name::new("fallback"),
            when: None,
            events: Arc::default(),
            handle: FallbackHandle::new(),
        }
    }

    /// Returns true if a call with this end falls back.
    #[inline(always)]
    pub(crate) fn falls_back(&self, end: &CallEnd) -> bool {
        end.outcome() != Outcome::Success && self.handle.is_enabled() && self.is_selected(end)
    }

    #[cold]
    fn is_selected(&self, end: &CallEnd) -> bool {
        match &self.when {
            Some(when) => when(end),
            None => matches!(
                end.outcome(),
                Outcome::Failure | Outcome::Overloaded | Outcome::TimedOut
            ),
        }
    }

    /// Counts, reports and marks the response of the fallback.
    pub(crate) fn conclude<T, E, X>(
        &self,
        exchange: &X,
        failed: FallbackUsed,
        mut response: Result<T, E>,
    ) -> Result<T, E>
    where
        X: InspectResult<T, E>,
    {
        let outcome = exchange.inspect(&response).outcome();
        self.handle.count(outcome);
        self.events.push(Event::FallbackUsed {
            name: self.name.clone(),
            from: failed.outcome(),
            to: outcome,
        });
        self.events.deliver();
        exchange.insert_extension(&mut response, failed);
        response
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
