use std::{hash::Hash, sync::Arc};

use towerkit_core::{CallEnd, ShareResponse};

use crate::{
    config::{Settings, is_error},
    entry::Claim,
    epochs::Stamp,
    store::Store,
};

/// A call that is made for an answer to keep.
///
/// Dropping it leaves to the next caller what it was to fetch.
#[derive(Debug)]
pub(crate) struct Errand<K> {
    store: Arc<Store<K>>,
    settings: Settings,
    key: K,
    stamp: Stamp,
    /// Whether it fetches what comes after an answer that others still get.
    claim: Option<Claim>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Errand<K> {
    pub(crate) fn new(
        store: Arc<Store<K>>,
        settings: Settings,
        key: K,
        claim: Option<Claim>,
    ) -> Self {
        let stamp = store.stamp(&key);
        store.misses.add();
        Self {
            store,
            settings,
            key,
            stamp,
            claim,
        }
    }

    pub(crate) fn max_body(&self) -> usize {
        self.settings.max_body
    }

    /// Keeps the answer, or finds one that stands in for it; returns what the caller gets.
    pub(crate) fn settle<T, E, X: ShareResponse<T, E>>(
        self,
        exchange: &X,
        result: Result<X::Response, E>,
        end: &CallEnd,
    ) -> Result<X::Response, E> {
        let kept = match &result {
            Ok(response) if self.settings.keep.keeps(end) => exchange.share(response),
            _ => None,
        };
        let now = self.settings.clock.now();
        if kept.is_none() && is_error(end) {
            let stand_in = self.store.stand_in(exchange, &self.key, now);
            return stand_in.map_or(result, Ok);
        }
        match kept {
            Some(value) => {
                let bytes = exchange.size(&value);
                self.store.keep(self.key, &self.stamp, value, bytes, now);
            }
            None => self.store.discard(&self.key),
        }
        // Not before the next answer is there, or another would claim to fetch it once more.
        drop(self.claim);
        result
    }
}
