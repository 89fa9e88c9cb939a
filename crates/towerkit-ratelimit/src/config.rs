use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use towerkit_core::{
    Call, CallEnd, False, Headers, Name, ProtocolKind, Rejection, RejectionReason, True, TypeBool,
};
use towerkit_keyed::NoKey;

use crate::{atomic_gcra::PolicyHeader, gcra::BucketState, headers::RateLimitHeaders};

/// The options of a limit that depend on the type of the calls, as the setters of its layer make them.
///
/// - `C` is the cost of a call: [`OneToken`], or a function given to [`cost`](crate::RateLimitLayer::cost).
/// - `N` is [`True`] if the limit needs the end of its calls, for [`cost_at_end`](crate::RateLimitLayer::cost_at_end) or
///   [`headers`](crate::RateLimitLayer::headers).
/// - `K` is the [key extractor](towerkit_keyed::KeyExtractor) of a [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer).
/// - `T` is the function that chooses a [tier](crate::KeyedRateLimitLayer::tiers), or [`OneTier`].
pub struct LimitOptions<K = NoKey, C = OneToken, N = False, T = OneTier> {
    pub(crate) key: Arc<K>,
    pub(crate) cost: Arc<C>,
    pub(crate) tier: Arc<T>,
    end: EndOptions,
    needs_end: PhantomData<fn() -> N>,
}

/// The options for the time after a call was admitted.
#[doc(hidden)]
#[derive(Clone, Default)]
pub struct EndOptions {
    cost: Option<Arc<CostAtEnd>>,
    headers: Option<RateLimitHeaders>,
}

type CostAtEnd = dyn Fn(&CallEnd) -> u32 + Send + Sync;

/// The cost of a call by default: one token.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OneToken;

/// The tier of a call by default: the quota that the layer was made with.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OneTier;

/// The number of tiers besides the first.
pub(crate) const MAX_TIERS: usize = 15;

/// The number of tokens that a call takes; implemented by [`OneToken`] and by functions.
pub trait CallCost<Req>: 'static {
    /// Returns the number of tokens.
    fn cost(&self, call: &Call<'_, Req>) -> u32;
}

/// The tier of a call; implemented by [`OneTier`] and by functions.
pub trait CallTier<Req>: 'static {
    /// Returns the index of the quota.
    fn tier(&self, call: &Call<'_, Req>) -> usize;
}

/// Implemented by [`LimitOptions`] alone, so that the types of layers have one parameter for them.
pub trait AnyLimitOptions: Clone + 'static {
    /// [`True`] if the limit needs the end of its calls.
    type NeedsEnd: NeedsEnd;

    #[doc(hidden)]
    fn end(&self) -> &EndOptions;
}

/// Implemented by [`True`] and [`False`]: the state of a call, depending on its end being needed.
#[doc(hidden)]
pub trait NeedsEnd: TypeBool {
    type CallState: CallState;
}

/// The state that a limit keeps of an admitted call: an [`AdmittedCall`] or `()`.
#[doc(hidden)]
pub trait CallState {
    fn new(admitted: impl FnOnce() -> AdmittedCall) -> Self;
    fn admitted(&self) -> Option<&AdmittedCall>;
}

/// The bucket of an admitted call, kept until the call ends.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct AdmittedCall {
    pub(crate) state: BucketState,
    pub(crate) policy: PolicyHeader,
    pub(crate) key: BucketKey,
}

/// The bucket of a call among those of a keyed limit: the tag of the key, with the tier in the lowest four bits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BucketKey(pub(crate) u64);

impl LimitOptions {
    pub(crate) fn new() -> Self {
        Self::with_key(NoKey)
    }
}

impl<K> LimitOptions<K> {
    pub(crate) fn with_key(key: K) -> Self {
        Self {
            key: Arc::new(key),
            cost: Arc::new(OneToken),
            tier: Arc::new(OneTier),
            end: EndOptions::default(),
            needs_end: PhantomData,
        }
    }
}

impl<K, C, N, T> LimitOptions<K, C, N, T> {
    pub(crate) fn cost<D>(self, cost: D) -> LimitOptions<K, D, N, T> {
        LimitOptions {
            key: self.key,
            cost: Arc::new(cost),
            tier: self.tier,
            end: self.end,
            needs_end: PhantomData,
        }
    }

    pub(crate) fn tier<U>(self, tier: U) -> LimitOptions<K, C, N, U> {
        LimitOptions {
            key: self.key,
            cost: self.cost,
            tier: Arc::new(tier),
            end: self.end,
            needs_end: PhantomData,
        }
    }

    pub(crate) fn cost_at_end(
        self,
        cost: impl Fn(&CallEnd) -> u32 + Send + Sync + 'static,
    ) -> LimitOptions<K, C, True, T> {
        let mut options = self.needing_end();
        options.end.cost = Some(Arc::new(cost));
        options
    }

    pub(crate) fn headers(self, headers: RateLimitHeaders) -> LimitOptions<K, C, True, T> {
        let mut options = self.needing_end();
        options.end.headers = Some(headers);
        options
    }

    fn needing_end(self) -> LimitOptions<K, C, True, T> {
        LimitOptions {
            key: self.key,
            cost: self.cost,
            tier: self.tier,
            end: self.end,
            needs_end: PhantomData,
        }
    }
}

impl EndOptions {
    pub(crate) fn append_headers(&self, state: &impl CallState, headers: &mut dyn Headers) {
        if let (Some(limit), Some(admitted)) = (self.headers, state.admitted()) {
            limit.append(&admitted.state, admitted.policy, headers);
        }
    }

    /// Returns the cost of a call that has ended; 0 if the call, or the cost function, panicked.
    pub(crate) fn cost_of_end(&self, end: &CallEnd) -> u32 {
        match &self.cost {
            Some(cost) if !end.has_panicked() => {
                catch_unwind(AssertUnwindSafe(|| cost(end))).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Makes the rejection of a call that may be sent again after a time, or never.
    pub(crate) fn reject(
        &self,
        name: &Name,
        retry_after: Option<Duration>,
        (state, policy): (&BucketState, PolicyHeader),
        kind: ProtocolKind,
    ) -> Rejection {
        let rejection = rejection(name, retry_after);
        match self.headers {
            Some(headers) => headers.add_to(rejection, state, policy, kind),
            None => rejection,
        }
    }
}

/// Makes the rejection of a call that may be sent again after a time, or never, without headers.
pub(crate) fn rejection(name: &Name, retry_after: Option<Duration>) -> Rejection {
    match retry_after {
        Some(wait) => {
            Rejection::new(RejectionReason::RateLimited, name.clone()).with_retry_after(wait)
        }
        None => Rejection::new(RejectionReason::InsufficientCapacity, name.clone()),
    }
}

impl<K: 'static, C: 'static, N: NeedsEnd, T: 'static> AnyLimitOptions for LimitOptions<K, C, N, T> {
    type NeedsEnd = N;

    #[inline(always)]
    fn end(&self) -> &EndOptions {
        &self.end
    }
}

impl NeedsEnd for True {
    type CallState = AdmittedCall;
}

impl NeedsEnd for False {
    type CallState = ();
}

impl CallState for AdmittedCall {
    #[inline(always)]
    fn new(admitted: impl FnOnce() -> AdmittedCall) -> Self {
        admitted()
    }

    #[inline(always)]
    fn admitted(&self) -> Option<&AdmittedCall> {
        Some(self)
    }
}

impl CallState for () {
    #[inline(always)]
    fn new(_admitted: impl FnOnce() -> AdmittedCall) -> Self {}

    #[inline(always)]
    fn admitted(&self) -> Option<&AdmittedCall> {
        None
    }
}

impl AdmittedCall {
    /// Makes the state of a call of a limit with one bucket.
    pub(crate) fn without_key(state: BucketState, policy: PolicyHeader) -> Self {
        let key = BucketKey::default();
        Self { state, policy, key }
    }
}

impl BucketKey {
    /// The bits of the tier.
    const TIER: u64 = MAX_TIERS as u64;

    #[inline(always)]
    pub(crate) fn tier(self) -> usize {
        (self.0 & Self::TIER) as usize
    }

    /// Returns the tag of the key without the tier.
    #[inline(always)]
    pub(crate) fn tag(self) -> u64 {
        self.0 & !Self::TIER
    }
}

impl<Req> CallCost<Req> for OneToken {
    #[inline(always)]
    fn cost(&self, _call: &Call<'_, Req>) -> u32 {
        1
    }
}

impl<Req, F: Fn(&Call<'_, Req>) -> u32 + 'static> CallCost<Req> for F {
    #[inline(always)]
    fn cost(&self, call: &Call<'_, Req>) -> u32 {
        self(call)
    }
}

impl<Req> CallTier<Req> for OneTier {
    #[inline(always)]
    fn tier(&self, _call: &Call<'_, Req>) -> usize {
        0
    }
}

impl<Req, F: Fn(&Call<'_, Req>) -> usize + 'static> CallTier<Req> for F {
    #[inline(always)]
    fn tier(&self, call: &Call<'_, Req>) -> usize {
        self(call)
    }
}

impl<K, C, N, T> Clone for LimitOptions<K, C, N, T> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            cost: self.cost.clone(),
            tier: self.tier.clone(),
            end: self.end.clone(),
            needs_end: PhantomData,
        }
    }
}

impl<K, C, N, T> fmt::Debug for LimitOptions<K, C, N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitOptions")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EndOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndOptions")
            .field("has_cost", &self.cost.is_some())
            .field("headers", &self.headers)
            .finish()
    }
}
