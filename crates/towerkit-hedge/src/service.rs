use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, DrainResponse, InspectResult, NoProtocol, ReplayRequest};
use towerkit_retry::{ByProtocol, Idempotence};

use crate::{
    HedgeFuture,
    hedging::{Hedging, Means},
    state::State,
};

/// A service behind a [`HedgeLayer`](crate::HedgeLayer).
pub struct Hedge<S, P = NoProtocol, I = ByProtocol> {
    inner: S,
    shared: Arc<Shared<P>>,
    idempotence: I,
}

/// What a call takes along that may be hedged, in one reference.
pub(crate) struct Shared<P> {
    pub(crate) state: Arc<State>,
    pub(crate) protocol: P,
}

impl<S, P, I> Hedge<S, P, I> {
    pub(crate) fn new(inner: S, state: Arc<State>, protocol: P, idempotence: I) -> Self {
        let shared = Arc::new(Shared { state, protocol });
        Self {
            inner,
            shared,
            idempotence,
        }
    }

    /// Whether a call may be sent more than once.
    #[inline(always)]
    fn may_hedge<Req>(&self, request: &Req) -> bool
    where
        P: ReplayRequest<Req>,
        I: Idempotence<Req>,
    {
        let said = self.shared.protocol.is_idempotent(request);
        self.idempotence.is_idempotent(request, said)
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
        let Shared { protocol, state } = &*self.shared;
        if !self.may_hedge(&request) {
            return HedgeFuture::new(self.inner.call(request), None);
        }
        let exchange = protocol.open(&request, protocol.kind(&request));
        let deadline = protocol.deadline(&request);
        let (attempt, kept) = protocol.record(request, state.config.replay);
        let Some(kept) = kept else {
            return HedgeFuture::new(self.inner.call(attempt), None);
        };
        let delay = state.begin();
        let first = self.inner.call(attempt);
        let means = Means {
            // Cloned after the call, which has used the readiness up that a clone must not count on.
            service: self.inner.clone(),
            exchange,
            kept,
            deadline,
        };
        HedgeFuture::new(first, Some(Hedging::new(self.shared.clone(), means, delay)))
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
