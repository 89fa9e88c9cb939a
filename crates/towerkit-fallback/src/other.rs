use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, DrainResponse, InspectResult, NoProtocol, ReplayRequest};

use crate::{
    FallbackToFuture, Other,
    config::Settings,
    plan::{Plan, Spare},
};

/// A service whose failures are answered by another service.
#[derive(Debug, Clone)]
pub struct FallbackTo<S, O, P = NoProtocol> {
    inner: S,
    other: Other<O>,
    settings: Arc<Settings>,
    protocol: P,
}

impl<S, O: Clone, P: Clone> FallbackTo<S, O, P> {
    pub(crate) fn new(inner: S, other: &Other<O>, settings: &Settings, protocol: &P) -> Self {
        Self {
            inner,
            other: other.clone(),
            settings: Arc::new(settings.clone()),
            protocol: protocol.clone(),
        }
    }

    /// Makes the first attempt, and the plan for the case that it fails.
    fn plan<Req>(&self, request: Req) -> (Req, Plan<O, P, Req>)
    where
        P: ReplayRequest<Req>,
    {
        let (attempt, kept) = self.protocol.record(request, self.other.replay_up_to);
        let spare = kept.map(|kept| Spare {
            kept,
            service: self.other.service.clone(),
            protocol: self.protocol.clone(),
        });
        (attempt, Plan::new(self.settings.clone(), spare))
    }
}

impl<S, O, P, Req> Service<Req> for FallbackTo<S, O, P>
where
    P: ReplayRequest<Req> + Clone,
    S: Service<Req>,
    O: Service<Req, Response = S::Response, Error = S::Error> + Clone,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FallbackToFuture<S, O, P, Req>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        let (attempt, plan) = if self.settings.handle.is_enabled() {
            let (attempt, plan) = self.plan(request);
            (attempt, Some(plan))
        } else {
            (request, None)
        };
        FallbackToFuture::new(self.inner.call(attempt), exchange, plan)
    }
}

impl<S, O, P, Req> Bypass<Req> for FallbackTo<S, O, P>
where
    P: ReplayRequest<Req> + Clone,
    S: Service<Req>,
    O: Service<Req, Response = S::Response, Error = S::Error> + Clone,
    P::Exchange: InspectResult<S::Response, S::Error> + DrainResponse<S::Response>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        FallbackToFuture::new(self.inner.call(request), exchange, None)
    }
}
