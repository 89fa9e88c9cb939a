use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use towerkit_core::{
    Call, CallEnd, Guard, Headers, Policy, ProtocolKind, Rejection, RejectionReason, TypeBool,
};
use towerkit_keyed::{KeyExtractor, KeyHasher};

use super::{
    buckets::{Denied, KeyedBuckets},
    config::KeyedConfig,
};
use crate::{
    AnyLimitOptions, LimitOptions,
    config::{AdmittedCall, BucketKey, CallCost, CallState, CallTier, NeedsEnd, rejection},
};

/// The guard behind [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer): takes the tokens of a call from the bucket of its key.
#[derive(Clone)]
pub struct KeyedRateLimitPolicy<O> {
    pub(crate) limit: KeyedState,
    pub(crate) options: O,
}

/// The part of the guard that its [handles](crate::KeyedRateLimitHandle) share.
#[derive(Clone)]
pub(crate) struct KeyedState {
    pub(crate) config: Arc<KeyedConfig>,
    /// Made with the first call or the first use of a handle: until then the settings may change.
    buckets: Arc<OnceLock<KeyedBuckets>>,
}

impl KeyedState {
    pub(crate) fn new(config: KeyedConfig) -> Self {
        Self {
            config: Arc::new(config),
            buckets: Arc::default(),
        }
    }

    /// Changes the settings, and starts with new buckets. Quotas that a handle has changed stay.
    pub(crate) fn configure(&mut self, set: impl FnOnce(&mut KeyedConfig)) {
        let config = Arc::make_mut(&mut self.config);
        if let Some(buckets) = self.buckets.get() {
            buckets.save(config);
        }
        set(config);
        self.buckets = Arc::default();
    }

    #[inline(always)]
    pub(crate) fn buckets(&self) -> &KeyedBuckets {
        match self.buckets.get() {
            Some(buckets) => buckets,
            None => self.make_buckets(),
        }
    }

    #[cold]
    fn make_buckets(&self) -> &KeyedBuckets {
        self.buckets.get_or_init(|| KeyedBuckets::new(&self.config))
    }

    /// Returns the bucket of a key in a tier.
    pub(crate) fn key<K: Hash + ?Sized>(&self, key: &K, tier: usize) -> BucketKey {
        self.buckets().key(self.config.hasher.tag(key), tier)
    }

    #[cold]
    #[inline(never)]
    fn reject_keyless(&self, now: u64) -> Rejection {
        self.buckets().reporter.on_keyless(now);
        Rejection::new(RejectionReason::Unavailable, self.config.name.clone())
    }
}

impl<O: AnyLimitOptions> Policy for KeyedRateLimitPolicy<O> {
    type CallState = <O::NeedsEnd as NeedsEnd>::CallState;
    const NEEDS_END: bool = O::NeedsEnd::VALUE;

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        self.options.end().append_headers(state, headers);
    }

    #[inline(always)]
    fn finish(&self, state: Self::CallState, end: &CallEnd) {
        if let Some(admitted) = state.admitted() {
            let cost = self.options.end().cost_of_end(end);
            if cost > 0 {
                let now = end.now(&self.limit.config.clock);
                self.limit.buckets().charge(admitted.key, now, cost);
            }
        }
    }
}

impl<Req, K, C, N, T> Guard<Req> for KeyedRateLimitPolicy<LimitOptions<K, C, N, T>>
where
    K: KeyExtractor<Req> + 'static,
    C: CallCost<Req>,
    N: NeedsEnd,
    T: CallTier<Req>,
{
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<N::CallState, Rejection> {
        let KeyedConfig { clock, hasher, .. } = &*self.limit.config;
        let now = call.now(clock);
        let tag = self.options.key.with_key(call, |key| match key {
            Some(key) => Some(hasher.tag(key)),
            None if K::REQUIRED => None,
            None => Some(KeyHasher::NO_KEY),
        });
        let Some(tag) = tag else {
            return Err(self.limit.reject_keyless(now));
        };
        let buckets = self.limit.buckets();
        let key = buckets.key(tag, self.options.tier.tier(call));
        let cost = self.options.cost.cost(call);
        match buckets.take(key, now, cost, || clock.now()) {
            Ok((state, gcra)) => Ok(N::CallState::new(|| AdmittedCall {
                state,
                policy: gcra.policy_header(),
                key,
            })),
            Err(denied) => Err(self.reject(denied, call.protocol_kind())),
        }
    }
}

impl<O: AnyLimitOptions> KeyedRateLimitPolicy<O> {
    #[cold]
    #[inline(never)]
    fn reject(&self, denied: Denied<'_>, kind: ProtocolKind) -> Rejection {
        let name = &self.limit.config.name;
        match denied {
            Denied::ByKey(insufficient, gcra) => {
                let bucket = (&insufficient.state, gcra.policy_header());
                let wait = insufficient.retry_after();
                self.options.end().reject(name, wait, bucket, kind)
            }
            // Without headers: the state of the bucket for all keys is not shown to a client.
            Denied::ByTotal(insufficient) => rejection(name, insufficient.retry_after()),
            Denied::TableFull => Rejection::new(RejectionReason::Overloaded, name.clone()),
        }
    }
}

impl fmt::Debug for KeyedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedState")
            .field("name", &self.config.name)
            .field("quotas", &self.config.quotas)
            .finish_non_exhaustive()
    }
}

impl<O> fmt::Debug for KeyedRateLimitPolicy<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitPolicy")
            .field("name", &self.limit.config.name)
            .field("quotas", &self.limit.config.quotas)
            .finish_non_exhaustive()
    }
}
