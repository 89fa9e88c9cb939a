//! The functions that the setters of [`LogLayer`](crate::LogLayer) accept.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use towerkit_core::{CallEnd, CallView, Outcome};
use tracing::Level;

use crate::callsites::{CLIENT_ADDRESS, PATH, REQUEST_ID};

/// Returns the default [`Level`] for the end of a call; see [Levels](crate#levels).
#[must_use]
pub fn level_of(end: &CallEnd) -> Level {
    if end.has_panicked() {
        return Level::ERROR;
    }
    match end.outcome() {
        Outcome::Success | Outcome::ClientError | Outcome::Cancelled => Level::INFO,
        Outcome::Failure => Level::ERROR,
        // Overloaded, timed out, and outcomes of later versions.
        _ => Level::WARN,
    }
}

/// Chooses the [`Level`] of a call at its end.
pub(crate) type LevelFn = dyn Fn(&CallEnd) -> Level + Send + Sync;

/// Reads the value of a field from a call.
type ReadFieldFn = dyn for<'a> Fn(&'a CallView<'a>) -> Option<Cow<'a, str>> + Send + Sync;

/// A field that the application adds to the events of calls; see [`LogLayer::field`](crate::LogLayer::field).
#[derive(Clone)]
pub(crate) struct ExtraField {
    pub(crate) name: &'static str,
    read: Arc<ReadFieldFn>,
}

impl ExtraField {
    pub(crate) fn new(
        name: &'static str,
        read: impl for<'a> Fn(&'a CallView<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        let read = Arc::new(read);
        Self { name, read }
    }

    /// Returns true if the field replaces one of the layer's own fields.
    pub(crate) fn is_replacement(&self) -> bool {
        [PATH, CLIENT_ADDRESS, REQUEST_ID].contains(&self.name)
    }

    /// Reads the value, and returns [`None`] if the function panics.
    pub(crate) fn read<'a>(&self, call: &'a CallView<'a>) -> Option<Cow<'a, str>> {
        catch_unwind(AssertUnwindSafe(|| (self.read)(call)))
            .ok()
            .flatten()
    }
}
