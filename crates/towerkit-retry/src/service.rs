use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, DrainResponse, InspectResult, NoProtocol, ReplayRequest};

use crate::{
    ByProtocol, Idempotence, RETRY_ATTEMPT, RetryFuture,
    again::{Again, Shared},
    policy::Policy,
};

/// A service behind a [`RetryLayer`](crate::RetryLayer).
pub struct Retry<S, P = NoProtocol, I = ByProtocol> {
    inner: S,
    shared: Arc<Shared<P>>,
    idempotence: I,
}

impl<S, P, I> Retry<S, P, I> {
    pub(crate) fn new(inner: S, policy: Arc<Policy>, protocol: P, idempotence: I) -> Self {
        let shared = Arc::new(Shared { policy, protocol });
        Self {
            inner,
            shared,
            idempotence,
        }
    }

    /// Whether sending the request again is out of the question, whatever comes of it.
    #[inline(always)]
    fn passes_by<Req>(&self, request: &Req) -> bool
    where
        P: ReplayRequest<Req>,
    {
        let Shared { policy, protocol } = &*self.shared;
        policy.unless_retried && protocol.header(request, RETRY_ATTEMPT).is_some()
    }
}

impl<S, P, I, Req> Service<Req> for Retry<S, P, I>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<P::Attempt> + Clone,
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
        let Shared { policy, protocol } = &*self.shared;
        if self.passes_by(&request) {
            return RetryFuture::new(self.inner.call(protocol.once(request)), None);
        }
        policy.budget.deposit();
        let said = protocol.is_idempotent(&request);
        let is_idempotent = self.idempotence.is_idempotent(&request, said);
        if policy.attempts() < 2 || !(is_idempotent || P::Exchange::DETECTS_UNSENT) {
            return RetryFuture::new(self.inner.call(protocol.once(request)), None);
        }
        let exchange = protocol.open(&request, protocol.kind(&request));
        let deadline = protocol.deadline(&request);
        let (attempt, kept) = protocol.record(request, policy.replay);
        let first = self.inner.call(attempt);
        // Cloned after the call, which has used up the readiness that a clone must not count on.
        let again = kept.map(|kept| Again {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            exchange,
            kept,
            is_idempotent,
            deadline,
            failed: Vec::new(),
        });
        RetryFuture::new(first, again)
    }
}

impl<S, P, I, Req> Bypass<Req> for Retry<S, P, I>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<P::Attempt> + Clone,
    I: Idempotence<Req>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let attempt = self.shared.protocol.once(request);
        RetryFuture::new(self.inner.call(attempt), None)
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
