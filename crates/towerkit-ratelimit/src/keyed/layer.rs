use std::{hash::Hash, sync::Arc};

use towerkit_core::{
    AsGuardWith, Call, CallEnd, Clock, EventSink, LayerState, Plain, PolicyLayer, PolicyService,
};

use super::{
    ByClass, ByField, ByKey, ByText, KeyedRateLimitHandle, KeyedRateLimitPolicy, Overflow,
    settings::Settings,
};
use crate::{
    Cost, InvalidSetting, Quota, Terms, fields::Fields, invalid::Problem, macros::layer_of,
    meter::Source,
};

/// Limits the rate of calls by key: one bucket for each key, rejecting, in memory of a fixed size.
pub struct KeyedRateLimitLayer<M: Terms, P = Plain> {
    policies: PolicyLayer<AsGuardWith<KeyedRateLimitPolicy<M>, <M as Terms>::NeedsEnd>, P>,
    /// The guard, as handles see it.
    state: LayerState<KeyedRateLimitPolicy<()>>,
}

/// A service behind a [`KeyedRateLimitLayer`].
pub type KeyedRateLimit<S, M, P = Plain> =
    PolicyService<S, AsGuardWith<KeyedRateLimitPolicy<M>, <M as Terms>::NeedsEnd>, P>;

impl<F: 'static> KeyedRateLimitLayer<ByKey<F>> {
    /// Limits the calls of each key to `quota`. `key` says to which a call belongs; it is hashed, and not kept.
    #[must_use]
    pub fn new<Req, K>(quota: Quota, key: F) -> Self
    where
        F: Fn(&Call<'_, Req>) -> K,
        K: Hash,
    {
        Self::of(quota, ByKey::new(key))
    }
}

impl<F: 'static> KeyedRateLimitLayer<ByText<F>> {
    /// Limits the calls of each key to `quota`, where keys are text that is found in the call. Calls without a key share a bucket.
    #[must_use]
    pub fn by_text<Req>(quota: Quota, key: F) -> Self
    where
        F: for<'a> Fn(&'a Call<'_, Req>) -> Option<&'a str>,
    {
        Self::of(quota, ByText::new(key))
    }
}

impl KeyedRateLimitLayer<ByField> {
    /// Limits the calls of each value of the request field `name`, such as an API key in a header, to `quota`. Calls without it share
    /// a bucket.
    ///
    /// Callers choose what they send: put whatever checks the value outside of this limit.
    #[must_use]
    pub fn by_field(quota: Quota, name: &'static str) -> Self {
        Self::of(quota, ByField::new(name))
    }
}

impl<M: Terms> KeyedRateLimitLayer<M> {
    pub(crate) fn of(quota: Quota, key: M) -> Self {
        let limit = KeyedRateLimitPolicy::new(Settings::new(quota), key);
        Self {
            state: LayerState::new(limit.clone().map(drop)),
            policies: PolicyLayer::new(AsGuardWith::new(limit), Plain::default()),
        }
    }
}

impl<M: Terms, P> KeyedRateLimitLayer<M, P> {
    /// Has room for `keys` keys that are in use at the same time, and by chance for up to twice as many; 100,000 by default.
    ///
    /// A key takes 32 bytes, whether it is there or not. One whose bucket is full again gives its place to a newcomer.
    ///
    /// # Errors
    ///
    /// If it is zero or more than 16,777,216.
    pub fn capacity(self, keys: usize) -> Result<Self, InvalidSetting> {
        if !(1..=Settings::LARGEST).contains(&keys) {
            return Err(InvalidSetting(Problem::Capacity(keys)));
        }
        Ok(self.with(|settings| settings.capacity = keys))
    }

    /// Says what becomes of a call whose key finds no room; it takes from a bucket that all such keys share by default.
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.with(|settings| settings.overflow = overflow)
    }

    /// Limits the calls of all keys together to `quota`; not by default. If either limit rejects a call, the other loses nothing.
    #[must_use]
    pub fn total(self, quota: Quota) -> Self {
        self.with(|settings| settings.total = Some(quota))
    }

    /// Has several quotas, between which `class` chooses: 0 is the one given at first, 1 the first of these, and so on.
    ///
    /// Any other number is as good as 0. A key has a bucket in each class.
    ///
    /// # Errors
    ///
    /// If there are none, or more than 15.
    pub fn classes<Req, F>(
        self,
        quotas: impl IntoIterator<Item = Quota>,
        class: F,
    ) -> Result<KeyedRateLimitLayer<ByClass<M, F>, P>, InvalidSetting>
    where
        F: Fn(&Call<'_, Req>) -> usize + 'static,
    {
        let most = Source::CLASS as usize;
        let quotas: Vec<_> = quotas.into_iter().take(most + 1).collect();
        if quotas.is_empty() || quotas.len() > most {
            return Err(InvalidSetting(Problem::Classes(quotas.len())));
        }
        let layer = self.with(|settings| {
            settings.quotas.truncate(1);
            settings.quotas.extend(quotas);
        });
        Ok(layer.map(|key| ByClass::new(key, class)))
    }

    /// Takes as many tokens as `cost` says, see [`RateLimitLayer::cost`](crate::RateLimitLayer::cost).
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> KeyedRateLimitLayer<Cost<M, F>, P>
    where
        F: Fn(&Call<'_, Req>) -> u32 + 'static,
    {
        self.map(|meter| Cost::new(meter, cost))
    }

    /// Takes the tokens that `cost` says once a call is over, see
    /// [`RateLimitLayer::cost_at_end`](crate::RateLimitLayer::cost_at_end).
    #[must_use]
    pub fn cost_at_end<F>(self, cost: F) -> KeyedRateLimitLayer<M::Followed, P>
    where
        F: Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    {
        self.map(|meter| meter.followed(|after| after.set_cost(cost)))
    }

    /// Tells callers how the bucket of their key stands, see [`RateLimitLayer::fields`](crate::RateLimitLayer::fields).
    ///
    /// The key does not appear, not even as a hash.
    ///
    /// # Errors
    ///
    /// If the name is empty, or has anything but printable ASCII, or a quote or backslash.
    pub fn fields(
        self,
        policy: &'static str,
    ) -> Result<KeyedRateLimitLayer<M::Followed, P>, InvalidSetting> {
        let fields = Fields::new(policy)?;
        Ok(self.map(|meter| meter.followed(|after| after.set_fields(fields))))
    }

    /// Names this limit in rejections and events; `ratelimit` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Reports to `sink` that keys find no room, or that the server does not tell the addresses of clients, each once a second at most;
    /// to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns a handle on the buckets, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> KeyedRateLimitHandle {
        KeyedRateLimitHandle(self.state.handle())
    }

    fn map<N: Terms>(self, turn: impl FnOnce(M) -> N) -> KeyedRateLimitLayer<N, P> {
        KeyedRateLimitLayer {
            policies: self
                .policies
                .map(|limit| AsGuardWith::new(limit.policy().clone().map(turn))),
            state: self.state,
        }
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let limit = self.policies.policies_mut().policy_mut();
        limit.set(set);
        self.state.replace(limit.clone().map(drop));
        self
    }
}

layer_of!(KeyedRateLimitLayer<M: Terms>, AsGuardWith<KeyedRateLimitPolicy<M>, <M as Terms>::NeedsEnd>);
