use std::{hash::Hash, sync::Arc};

use towerkit_core::{CallEnd, Outcome, ShareResponse};

use crate::{config::Config, entry::FetchClaim, invalidations::RequestStamp, store::Store};

/// A call of the inner service for a response to cache.
///
/// Dropping it releases its claim, so that the next caller fetches the response.
#[derive(Debug)]
pub(crate) struct Fetch<K> {
    store: Arc<Store<K>>,
    config: Config,
    key: K,
    stamp: RequestStamp,
    /// Present if other callers get a stale response meanwhile.
    claim: Option<FetchClaim>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Fetch<K> {
    pub(crate) fn new(
        store: Arc<Store<K>>,
        config: Config,
        key: K,
        claim: Option<FetchClaim>,
    ) -> Self {
        let stamp = store.stamp(&key);
        store.misses.add();
        Self {
            store,
            config,
            key,
            stamp,
            claim,
        }
    }

    pub(crate) fn max_body(&self) -> usize {
        self.config.max_body
    }

    /// Caches the response, or replaces a failure with a stale response; returns the result for the caller.
    pub(crate) fn complete<T, E, X: ShareResponse<T, E>>(
        self,
        exchange: &X,
        result: Result<X::Response, E>,
        end: &CallEnd,
    ) -> Result<X::Response, E> {
        let shared = match &result {
            Ok(response) if self.config.keep.allows(end) => exchange.share(response),
            _ => None,
        };
        let now = self.config.clock.now();
        if shared.is_none() && is_error(end) {
            let stale = self.store.stale_response(exchange, &self.key, now);
            return stale.map_or(result, Ok);
        }
        match shared {
            Some(value) => {
                let bytes = exchange.size(&value);
                self.store.insert(self.key, &self.stamp, value, bytes, now);
            }
            None => self.store.remove(&self.key),
        }
        // Released only after the response is cached, or another caller would fetch it once more.
        drop(self.claim);
        result
    }
}

/// Returns true if the call failed, so that a stale response may replace its result. Any other result replaces the cached response.
fn is_error(end: &CallEnd) -> bool {
    let outcome = end.outcome();
    end.rejection_reason().is_some() || !matches!(outcome, Outcome::Success | Outcome::ClientError)
}
