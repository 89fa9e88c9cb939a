use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use towerkit_core::CallView;

use crate::sites::{CLIENT_ADDRESS, PATH, REQUEST_ID};

/// Reads the value of a field from a call.
pub(crate) type ReadField = dyn for<'a> Fn(&'a CallView<'a>) -> Option<Cow<'a, str>> + Send + Sync;

/// A field that the application adds to the events of calls.
#[derive(Clone)]
pub(crate) struct OwnField {
    pub(crate) name: &'static str,
    read: Arc<ReadField>,
}

impl OwnField {
    pub(crate) fn new(
        name: &'static str,
        read: impl for<'a> Fn(&'a CallView<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        let read = Arc::new(read);
        Self { name, read }
    }

    /// Whether the field takes the place of one that every event has.
    pub(crate) fn takes_a_place(&self) -> bool {
        [PATH, CLIENT_ADDRESS, REQUEST_ID].contains(&self.name)
    }

    /// Reads the value; a function that panics has none.
    pub(crate) fn read<'a>(&self, call: &'a CallView<'a>) -> Option<Cow<'a, str>> {
        catch_unwind(AssertUnwindSafe(|| (self.read)(call)))
            .ok()
            .flatten()
    }
}
