use std::sync::Arc;

use towerkit_core::{CallEnd, InspectResult, ReplayRequest};

use crate::{FallbackUsed, config::Config};

/// The fallback of one call.
pub(crate) struct PendingFallback<O, P: ReplayRequest<Req>, Req> {
    config: Arc<Config>,
    /// `None` if the request was too large to record, and once it is used.
    second_attempt: Option<SecondAttempt<O, P, Req>>,
    failed: Option<FallbackUsed>,
}

/// The recorded request and the service for a second attempt.
pub(crate) struct SecondAttempt<O, P: ReplayRequest<Req>, Req> {
    pub(crate) recorded: P::Recorded,
    pub(crate) service: O,
    pub(crate) protocol: P,
}

impl<O, P: ReplayRequest<Req>, Req> PendingFallback<O, P, Req> {
    pub(crate) fn new(
        config: Arc<Config>,
        second_attempt: Option<SecondAttempt<O, P, Req>>,
    ) -> Self {
        Self {
            config,
            second_attempt,
            failed: None,
        }
    }

    pub(crate) fn falls_back(&self, end: &CallEnd) -> bool {
        self.config.falls_back(end)
    }

    /// Returns the other service and the request for it, unless the request cannot be replayed.
    #[cold]
    #[inline(never)]
    pub(crate) fn fall_back(&mut self, end: &CallEnd) -> Option<(O, Req)> {
        let second = self.second_attempt.take().and_then(|second_attempt| {
            let attempt = second_attempt.protocol.replay(&second_attempt.recorded)?;
            Some((second_attempt.service, attempt))
        });
        match second {
            Some(_) => self.failed = Some(FallbackUsed::new(self.config.name.clone(), end)),
            None => self.config.handle.count_not_replayable(),
        }
        second
    }

    /// Finishes the response of the other service.
    pub(crate) fn conclude<T, E, X>(&self, exchange: &X, response: Result<T, E>) -> Result<T, E>
    where
        X: InspectResult<T, E>,
    {
        let failed = self.failed.clone().expect("the call had failed");
        self.config.conclude(exchange, failed, response)
    }
}
