use std::task::{Context, Poll};

use tower_service::Service;
use towerkit_core::{Bypass, InspectResult, Name, NoProtocol, Protocol, RejectCall, TrackResponse};

use crate::{TimeoutFuture, TimeoutHandle, limit::Limit};

/// A service behind a [`TimeoutLayer`](crate::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S, P = NoProtocol> {
    inner: S,
    name: Name,
    handle: TimeoutHandle,
    protocol: P,
}

impl<S, P> Timeout<S, P> {
    pub(crate) fn new(inner: S, name: Name, handle: TimeoutHandle, protocol: P) -> Self {
        Self {
            inner,
            name,
            handle,
            protocol,
        }
    }

    /// Returns the limit of a call, or `None` if its deadline has passed.
    #[inline(always)]
    fn limit<Req>(&self, request: &Req) -> Option<Limit>
    where
        P: Protocol<Req>,
    {
        let timeout = self.handle.timeout();
        match self.protocol.deadline(request) {
            None => Some(Limit::After(timeout)),
            Some(deadline) => Limit::by(&deadline, timeout),
        }
    }
}

impl<S, P, Req> Service<Req> for Timeout<S, P>
where
    S: Service<Req>,
    P: Protocol<Req>,
    P::Exchange: RejectCall<S::Response, S::Error> + InspectResult<S::Response, S::Error>,
{
    type Response = <P::Exchange as TrackResponse<S::Response, S::Error>>::Response<()>;
    type Error = S::Error;
    type Future = TimeoutFuture<S::Future, P::Exchange>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        match self.limit(&request) {
            Some(limit) => {
                let name = self.name.clone();
                TimeoutFuture::new(self.inner.call(request), exchange, name, limit)
            }
            None => TimeoutFuture::expired(exchange, self.name.clone()),
        }
    }
}

impl<S, P, Req> Bypass<Req> for Timeout<S, P>
where
    S: Service<Req>,
    P: Protocol<Req>,
    P::Exchange: RejectCall<S::Response, S::Error> + InspectResult<S::Response, S::Error>,
{
    #[inline(always)]
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        TimeoutFuture::unlimited(self.inner.call(request), exchange)
    }
}
