use std::{hash::Hash, sync::Arc};

use towerkit_core::Call;

use super::buckets::Buckets;
use crate::{
    After, Cost, Followed, Terms,
    meter::{Meter, bare_terms},
};

/// Whose bucket a call takes from, and by which quota.
///
/// Implemented by what the constructors and setters of [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer) make, and by nothing else.
pub trait KeyOf<Req>: Terms {
    /// Returns the tag of the key of a call; `None` if the call is to be rejected since the server does not tell its client.
    #[doc(hidden)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64>;

    /// Returns the number of the quota of a call.
    #[doc(hidden)]
    #[inline(always)]
    fn class(&self, _call: &Call<'_, Req>) -> usize {
        0
    }
}

/// Makes tags of keys.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a>(pub(crate) &'a Buckets);

impl Tags<'_> {
    /// The tag of calls that have no key. The hash of a key is another one, but for once in 2^59.
    const NONE: u64 = 1 << 5;

    #[inline(always)]
    pub(crate) fn of<K: Hash + ?Sized>(self, key: &K) -> u64 {
        self.0.tag(key)
    }

    #[inline(always)]
    pub(crate) fn of_some<K: Hash + ?Sized>(self, key: Option<&K>) -> u64 {
        key.map_or(Self::NONE, |key| self.of(key))
    }
}

/// Keys are what a function returns.
#[derive(Debug)]
pub struct ByKey<F>(Arc<F>);

/// Keys are text that a function finds in the call.
#[derive(Debug)]
pub struct ByText<F>(Arc<F>);

/// Keys are the values of a request field.
#[derive(Debug, Clone, Copy)]
pub struct ByField(&'static str);

/// Quotas are chosen by a function.
#[derive(Debug)]
pub struct ByClass<M, F>(M, Arc<F>);

impl<F> ByKey<F> {
    pub(crate) fn new(key: F) -> Self {
        Self(Arc::new(key))
    }
}

impl<F> ByText<F> {
    pub(crate) fn new(key: F) -> Self {
        Self(Arc::new(key))
    }
}

impl ByField {
    pub(crate) fn new(name: &'static str) -> Self {
        Self(name)
    }
}

impl<M, F> ByClass<M, F> {
    pub(crate) fn new(key: M, class: F) -> Self {
        Self(key, Arc::new(class))
    }
}

impl<F> Clone for ByKey<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Clone for ByText<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Clone, F> Clone for ByClass<M, F> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

bare_terms!(ByKey<F>, F);
bare_terms!(ByText<F>, F);
bare_terms!(ByField);

impl<Req, F, K> KeyOf<Req> for ByKey<F>
where
    F: Fn(&Call<'_, Req>) -> K + 'static,
    K: Hash,
{
    #[inline(always)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64> {
        Some(tags.of(&(self.0)(call)))
    }
}

impl<Req, F> KeyOf<Req> for ByText<F>
where
    F: for<'a> Fn(&'a Call<'_, Req>) -> Option<&'a str> + 'static,
{
    #[inline(always)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64> {
        Some(tags.of_some((self.0)(call)))
    }
}

impl<Req> KeyOf<Req> for ByField {
    #[inline(always)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64> {
        Some(tags.of_some(call.header(self.0)))
    }
}

impl<M: Terms, F: 'static> Terms for ByClass<M, F> {
    type NeedsEnd = M::NeedsEnd;
    type CallState = M::CallState;
    type Followed = ByClass<M::Followed, F>;

    fn followed(self, set: impl FnOnce(&mut After)) -> Self::Followed {
        ByClass(self.0.followed(set), self.1)
    }

    fn after(&self) -> &After {
        self.0.after()
    }
}

impl<Req, M: Meter<Req>, F: 'static> Meter<Req> for ByClass<M, F> {
    #[inline(always)]
    fn cost(&self, call: &Call<'_, Req>) -> u32 {
        self.0.cost(call)
    }
}

impl<Req, M: KeyOf<Req>, F> KeyOf<Req> for ByClass<M, F>
where
    F: Fn(&Call<'_, Req>) -> usize + 'static,
{
    #[inline(always)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64> {
        self.0.tag(call, tags)
    }

    #[inline(always)]
    fn class(&self, call: &Call<'_, Req>) -> usize {
        (self.1)(call)
    }
}

impl<Req, M: KeyOf<Req>, F: 'static> KeyOf<Req> for Cost<M, F> {
    #[inline(always)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64> {
        self.inner().tag(call, tags)
    }

    #[inline(always)]
    fn class(&self, call: &Call<'_, Req>) -> usize {
        self.inner().class(call)
    }
}

impl<Req, M: KeyOf<Req>> KeyOf<Req> for Followed<M> {
    #[inline(always)]
    fn tag(&self, call: &Call<'_, Req>, tags: Tags<'_>) -> Option<u64> {
        self.inner().tag(call, tags)
    }

    #[inline(always)]
    fn class(&self, call: &Call<'_, Req>) -> usize {
        self.inner().class(call)
    }
}
