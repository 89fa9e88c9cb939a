use std::{
    fmt,
    hash::Hash,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, KeyFn, KeyType, NoProtocol, Protocol, ShareResponse};

use crate::{
    CoalesceFuture,
    call_table::{CallTable, Joined},
    config::Config,
    future::Deferred,
};

/// A service behind a [`CoalesceLayer`](crate::CoalesceLayer).
pub struct Coalesce<S, X: KeyType, P = NoProtocol> {
    pub(crate) inner: S,
    pub(crate) keys: X,
    pub(crate) calls: Arc<CallTable<X::Key>>,
    pub(crate) config: Config,
    pub(crate) protocol: P,
}

impl<S, F, K, P, Req> Service<Req> for Coalesce<S, KeyFn<F, K>, P>
where
    S: Service<Req> + Clone,
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq + Send + Sync + 'static,
    P: Protocol<Req>,
    P::Exchange: ShareResponse<S::Response, S::Error>,
{
    type Response = <P::Exchange as ShareResponse<S::Response, S::Error>>::Response;
    type Error = S::Error;
    type Future = CoalesceFuture<S, K, P::Exchange, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        let Some(key) = self.keys.key(&request) else {
            let call = self.inner.call(request);
            return CoalesceFuture::calling(call, None, exchange, &self.config);
        };
        match self.calls.join(key) {
            Joined::Leader(lead) => {
                let call = self.inner.call(request);
                CoalesceFuture::calling(call, Some(lead), exchange, &self.config)
            }
            Joined::Follower(wait) => {
                let inner = self.take_unready();
                CoalesceFuture::waiting(wait, Deferred { inner, request }, exchange, &self.config)
            }
        }
    }
}

impl<S, F, K, P, Req> Bypass<Req> for Coalesce<S, KeyFn<F, K>, P>
where
    S: Service<Req> + Clone,
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq + Send + Sync + 'static,
    P: Protocol<Req>,
    P::Exchange: ShareResponse<S::Response, S::Error>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        let call = self.inner.call(request);
        CoalesceFuture::calling(call, None, exchange, &self.config)
    }
}

impl<S: Clone, X: KeyType, P> Coalesce<S, X, P> {
    /// Releases the readiness of the inner service, which a waiting call must not hold, and returns an instance for later.
    fn take_unready(&mut self) -> S {
        let fresh = self.inner.clone();
        mem::replace(&mut self.inner, fresh).clone()
    }
}

impl<S: Clone, X: KeyType + Clone, P: Clone> Clone for Coalesce<S, X, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            keys: self.keys.clone(),
            calls: self.calls.clone(),
            config: self.config.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<S: fmt::Debug, X: KeyType, P> fmt::Debug for Coalesce<S, X, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesce")
            .field("inner", &self.inner)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}
