use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, DrainResponse, InspectResult, NoProtocol, ReplayRequest};

use crate::{
    ByService, FallbackServiceFuture,
    config::Config,
    pending_fallback::{PendingFallback, SecondAttempt},
};

/// A service behind a [`FallbackLayer`](crate::FallbackLayer) with another service.
#[derive(Debug, Clone)]
pub struct FallbackService<S, O, P = NoProtocol> {
    inner: S,
    fallback_service: ByService<O>,
    config: Arc<Config>,
    protocol: P,
}

impl<S, O: Clone, P: Clone> FallbackService<S, O, P> {
    pub(crate) fn new(
        inner: S,
        fallback_service: &ByService<O>,
        config: &Config,
        protocol: &P,
    ) -> Self {
        Self {
            inner,
            fallback_service: fallback_service.clone(),
            config: Arc::new(config.clone()),
            protocol: protocol.clone(),
        }
    }

    /// Makes the first attempt, and the fallback for its failure.
    fn pending_fallback<Req>(&self, request: Req) -> (Req, PendingFallback<O, P, Req>)
    where
        P: ReplayRequest<Req>,
    {
        let (attempt, recorded) = self
            .protocol
            .record(request, self.fallback_service.replay_up_to);
        let second_attempt = recorded.map(|recorded| SecondAttempt {
            recorded,
            service: self.fallback_service.service.clone(),
            protocol: self.protocol.clone(),
        });
        (
            attempt,
            PendingFallback::new(self.config.clone(), second_attempt),
        )
    }
}

impl<S, O, P, Req> Service<Req> for FallbackService<S, O, P>
where
    P: ReplayRequest<Req> + Clone,
    S: Service<Req>,
    O: Service<Req, Response = S::Response, Error = S::Error> + Clone,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FallbackServiceFuture<S, O, P, Req>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        let (attempt, pending_fallback) = if self.config.handle.is_enabled() {
            let (attempt, pending_fallback) = self.pending_fallback(request);
            (attempt, Some(pending_fallback))
        } else {
            (request, None)
        };
        FallbackServiceFuture::new(self.inner.call(attempt), exchange, pending_fallback)
    }
}

impl<S, O, P, Req> Bypass<Req> for FallbackService<S, O, P>
where
    P: ReplayRequest<Req> + Clone,
    S: Service<Req>,
    O: Service<Req, Response = S::Response, Error = S::Error> + Clone,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        FallbackServiceFuture::new(self.inner.call(request), exchange, None)
    }
}
