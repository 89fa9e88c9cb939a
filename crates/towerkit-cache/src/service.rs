use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{Bypass, KeyFn, KeyType, NoProtocol, Protocol, ShareResponse};

use crate::{CacheFuture, config::Config, fetch::Fetch, store::Store};

/// A service behind a [`CacheLayer`](crate::CacheLayer).
pub struct Cache<S, X: KeyType, P = NoProtocol> {
    pub(crate) inner: S,
    pub(crate) keys: X,
    pub(crate) store: Arc<Store<X::Key>>,
    pub(crate) config: Config,
    pub(crate) protocol: P,
}

impl<S, F, K, P, Req> Service<Req> for Cache<S, KeyFn<F, K>, P>
where
    S: Service<Req> + Clone,
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq + Send + Sync + 'static,
    P: Protocol<Req>,
    P::Exchange: ShareResponse<S::Response, S::Error>,
{
    type Response = <P::Exchange as ShareResponse<S::Response, S::Error>>::Response;
    type Error = S::Error;
    type Future = CacheFuture<S, K, P::Exchange, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let kind = self.protocol.kind(&request);
        let exchange = self.protocol.open(&request, kind);
        let fetch = match self.keys.key(&request) {
            None => None,
            Some(key) => match self.store.look_up(&exchange, &key, self.config.clock.now()) {
                Ok(response) => {
                    // Releases the readiness, which the call did not need.
                    self.inner = self.inner.clone();
                    return CacheFuture::cached(response, exchange);
                }
                Err(claim) => {
                    let (store, config) = (self.store.clone(), self.config.clone());
                    Some(Box::new(Fetch::new(store, config, key, claim)))
                }
            },
        };
        CacheFuture::calling(self.inner.call(request), fetch, exchange)
    }
}

impl<S, F, K, P, Req> Bypass<Req> for Cache<S, KeyFn<F, K>, P>
where
    S: Service<Req> + Clone,
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq + Send + Sync + 'static,
    P: Protocol<Req>,
    P::Exchange: ShareResponse<S::Response, S::Error>,
{
    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        CacheFuture::calling(self.inner.call(request), None, exchange)
    }
}

impl<S: Clone, X: KeyType + Clone, P: Clone> Clone for Cache<S, X, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            keys: self.keys.clone(),
            store: self.store.clone(),
            config: self.config.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<S: fmt::Debug, X: KeyType, P> fmt::Debug for Cache<S, X, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
