use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{
    AttemptedInstances, Bypass, DrainResponse, InspectResult, NoProtocol, ReplayRequest,
};

use crate::{
    ByProtocol, Idempotence, RETRY_ATTEMPT, RetryFuture,
    config::Config,
    retry_state::{RetryState, Shared},
};

/// A service behind a [`RetryLayer`](crate::RetryLayer).
pub struct Retry<S, P = NoProtocol, I = ByProtocol> {
    inner: S,
    shared: Arc<Shared<P>>,
    idempotence: I,
}

impl<S, P, I> Retry<S, P, I> {
    pub(crate) fn new(inner: S, config: Arc<Config>, protocol: P, idempotence: I) -> Self {
        let shared = Arc::new(Shared { config, protocol });
        Self {
            inner,
            shared,
            idempotence,
        }
    }

    /// Returns true for the retry of another tier, which this layer is told to leave alone.
    #[inline(always)]
    fn is_already_retried<Req>(&self, request: &Req) -> bool
    where
        P: ReplayRequest<Req>,
    {
        let Shared { config, protocol } = &*self.shared;
        config.unless_retried && protocol.header(request, RETRY_ATTEMPT).is_some()
    }
}

impl<S, P, I, Req> Service<Req> for Retry<S, P, I>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
    I: Idempotence<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RetryFuture<S, P, Req>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let Shared { config, protocol } = &*self.shared;
        if self.is_already_retried(&request) {
            return RetryFuture::new(self.inner.call(request), None);
        }
        config.budget.deposit();
        let by_protocol = protocol.is_idempotent(&request);
        let is_idempotent = self.idempotence.is_idempotent(&request, by_protocol);
        if config.attempts() < 2 || !(is_idempotent || P::Exchange::DETECTS_UNSENT) {
            return RetryFuture::new(self.inner.call(request), None);
        }
        let exchange = protocol.open(&request, protocol.kind(&request));
        let deadline = protocol.deadline(&request);
        let (first, recorded) = protocol.record(request, config.max_replay_bytes);
        let mut attempted = AttemptedInstances::default();
        let first = attempted.enter(|| self.inner.call(first));
        // Cloned after the call, which has used up the readiness that a clone must not count on.
        let state = recorded.map(|recorded| RetryState {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            exchange,
            recorded,
            is_idempotent,
            deadline,
            attempted,
            failed_attempts: Vec::new(),
        });
        RetryFuture::new(first, state)
    }
}

impl<S, P, I, Req> Bypass<Req> for Retry<S, P, I>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
    I: Idempotence<Req>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        RetryFuture::new(self.inner.call(request), None)
    }
}

impl<S: Clone, P, I: Clone> Clone for Retry<S, P, I> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            idempotence: self.idempotence.clone(),
        }
    }
}

impl<S: fmt::Debug, P, I> fmt::Debug for Retry<S, P, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
