use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, InspectResult, NoProtocol, Protocol};

use crate::{FallbackFuture, FallbackResponse, config::Config, future::Shared};

/// A service behind a [`FallbackLayer`](crate::FallbackLayer) with a value or a function.
#[derive(Debug)]
pub struct Fallback<S, A, P = NoProtocol> {
    inner: S,
    shared: Arc<Shared<A>>,
    protocol: P,
}

impl<S, A: Clone, P: Clone> Fallback<S, A, P> {
    pub(crate) fn new(inner: S, response: &A, config: &Config, protocol: &P) -> Self {
        Self {
            inner,
            shared: Arc::new(Shared {
                response: response.clone(),
                config: config.clone(),
            }),
            protocol: protocol.clone(),
        }
    }
}

impl<S: Clone, A, P: Clone> Clone for Fallback<S, A, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<S, A, P, Req> Service<Req> for Fallback<S, A, P>
where
    S: Service<Req>,
    A: FallbackResponse<S::Response, S::Error>,
    P: Protocol<Req>,
    P::Exchange: InspectResult<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FallbackFuture<S::Future, A, P::Exchange>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        FallbackFuture {
            inner: self.inner.call(request),
            shared: Some(self.shared.clone()),
            exchange,
        }
    }
}

impl<S, A, P, Req> Bypass<Req> for Fallback<S, A, P>
where
    S: Service<Req>,
    A: FallbackResponse<S::Response, S::Error>,
    P: Protocol<Req>,
    P::Exchange: InspectResult<S::Response, S::Error>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        FallbackFuture {
            inner: self.inner.call(request),
            shared: None,
            exchange,
        }
    }
}
