use std::sync::Arc;

use towerkit_core::{CallEnd, InspectResult, ReplayRequest};

use crate::{FellBack, config::Settings};

/// What one call does if it fails.
pub(crate) struct Plan<O, P: ReplayRequest<Req>, Req> {
    settings: Arc<Settings>,
    /// `None` if the request was too long to keep, and once it is used.
    spare: Option<Spare<O, P, Req>>,
    failed: Option<FellBack>,
}

/// What another attempt is made of, and who makes it.
pub(crate) struct Spare<O, P: ReplayRequest<Req>, Req> {
    pub(crate) kept: P::Recorded,
    pub(crate) service: O,
    pub(crate) protocol: P,
}

impl<O, P: ReplayRequest<Req>, Req> Plan<O, P, Req> {
    pub(crate) fn new(settings: Arc<Settings>, spare: Option<Spare<O, P, Req>>) -> Self {
        Self {
            settings,
            spare,
            failed: None,
        }
    }

    pub(crate) fn chooses(&self, end: &CallEnd) -> bool {
        self.settings.chooses(end)
    }

    /// Goes over to the other service, if there is still something to call it with.
    #[cold]
    #[inline(never)]
    pub(crate) fn fall_back(&mut self, end: &CallEnd) -> Option<(O, Req)> {
        let second = self.spare.take().and_then(|spare| {
            let attempt = spare.protocol.replay(&spare.kept)?;
            Some((spare.service, attempt))
        });
        match second {
            Some(_) => self.failed = Some(FellBack::new(self.settings.name, end)),
            None => self.settings.handle.count_unrepeatable(),
        }
        second
    }

    /// Passes on the answer of the other service.
    pub(crate) fn conclude<T, E, X>(&self, exchange: &X, answer: Result<T, E>) -> Result<T, E>
    where
        X: InspectResult<T, E>,
    {
        let failed = self.failed.expect("the call had failed");
        self.settings.conclude(exchange, failed, answer)
    }
}
