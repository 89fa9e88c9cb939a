use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{
    AttemptedInstances, Bypass, DrainResponse, InspectResult, NoProtocol, ReplayRequest,
};
use towerkit_retry::{ByProtocol, Idempotence};

use crate::{
    HedgeFuture,
    hedging::{HedgeParts, Hedging},
    state::{SharedState, State},
};

/// A service behind a [`HedgeLayer`](crate::HedgeLayer).
pub struct Hedge<S, P = NoProtocol, I = ByProtocol> {
    inner: S,
    shared: Arc<SharedState<P>>,
    idempotence: I,
}

impl<S, P, I> Hedge<S, P, I> {
    pub(crate) fn new(inner: S, state: Arc<State>, protocol: P, idempotence: I) -> Self {
        let shared = Arc::new(SharedState { state, protocol });
        Self {
            inner,
            shared,
            idempotence,
        }
    }

    /// Returns true if the request is idempotent.
    #[inline(always)]
    fn is_idempotent<Req>(&self, request: &Req) -> bool
    where
        P: ReplayRequest<Req>,
        I: Idempotence<Req>,
    {
        let by_protocol = self.shared.protocol.is_idempotent(request);
        self.idempotence.is_idempotent(request, by_protocol)
    }
}

impl<S, P, I, Req> Service<Req> for Hedge<S, P, I>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
    I: Idempotence<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HedgeFuture<S, P, Req>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let SharedState { protocol, state } = &*self.shared;
        if !self.is_idempotent(&request) {
            return HedgeFuture::new(self.inner.call(request), None);
        }
        let exchange = protocol.open(&request, protocol.kind(&request));
        let deadline = protocol.deadline(&request);
        let (attempt, recorded) = protocol.record(request, state.config.replay);
        let Some(recorded) = recorded else {
            return HedgeFuture::new(self.inner.call(attempt), None);
        };
        let delay = state.start_call();
        let mut attempted = AttemptedInstances::default();
        let first = attempted.enter(|| self.inner.call(attempt));
        let parts = HedgeParts {
            // Cloned after the call, so that a clone does not rely on the readiness that the call has used up.
            service: self.inner.clone(),
            exchange,
            recorded,
            deadline,
            attempted,
        };
        HedgeFuture::new(first, Some(Hedging::new(self.shared.clone(), parts, delay)))
    }
}

impl<S, P, I, Req> Bypass<Req> for Hedge<S, P, I>
where
    P: ReplayRequest<Req>,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
    S: Service<Req> + Clone,
    I: Idempotence<Req>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        HedgeFuture::new(self.inner.call(request), None)
    }
}

impl<S: Clone, P, I: Clone> Clone for Hedge<S, P, I> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            idempotence: self.idempotence.clone(),
        }
    }
}

impl<S: fmt::Debug, P, I> fmt::Debug for Hedge<S, P, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
