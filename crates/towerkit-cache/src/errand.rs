use std::{hash::Hash, sync::Arc};

use towerkit_core::{End, Share};

use crate::{
    epochs::Stamp,
    settings::{Settings, is_error},
    store::{Old, Store},
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
    old: Option<Old>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Errand<K> {
    pub(crate) fn new(store: Arc<Store<K>>, settings: Settings, key: K, old: Option<Old>) -> Self {
        let stamp = store.stamp(&key);
        store.misses.add();
        Self {
            store,
            settings,
            key,
            stamp,
            old,
        }
    }

    pub(crate) fn max_body(&self) -> usize {
        self.settings.max_body
    }

    /// Keeps the answer, or finds one that stands in for it; returns what the caller gets.
    pub(crate) fn settle<T, E, X: Share<T, E>>(
        self,
        exchange: &X,
        result: Result<X::Response, E>,
        end: &End,
    ) -> Result<X::Response, E> {
        let kept = match &result {
            Ok(response) if self.settings.keep.keeps(end) => exchange.keep(response),
            _ => None,
        };
        if kept.is_none() && is_error(end) {
            return self.stand_in(exchange).map_or(result, Ok);
        }
        let now = self.settings.clock.now();
        match kept {
            Some(value) => {
                let bytes = exchange.size(&value);
                self.store.keep(self.key, &self.stamp, value, bytes, now);
            }
            None => self.store.discard(&self.key),
        }
        // Not before the next answer is there, or another would claim to fetch it once more.
        drop(self.old);
        result
    }

    fn stand_in<T, E, X: Share<T, E>>(&self, exchange: &X) -> Option<X::Response> {
        let old = &self.old.as_ref()?.entry;
        let is_good = old.terms.stands_in(self.settings.clock.now());
        if !is_good || !self.store.is_current(&self.stamp) {
            return None;
        }
        let response = exchange.again(old.value.downcast_ref()?);
        self.store.stale.add();
        Some(response)
    }
}
