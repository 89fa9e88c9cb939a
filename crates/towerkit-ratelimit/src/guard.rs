use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;
use towerkit_core::{
    Backpressure, Call, CallEnd, Clock, Guard, Headers, Name, Policy, ProtocolKind, Rejection,
    TypeBool, WakerSet,
};

use crate::{
    AnyLimitOptions, LimitOptions, Quota,
    config::{AdmittedCall, CallCost, CallState, NeedsEnd},
    gcra::InsufficientTokens,
    token_bucket::TokenBucket,
};

/// The guard behind [`RateLimitLayer`](crate::RateLimitLayer): takes the tokens of a call, or rejects it.
#[derive(Clone)]
pub struct RateLimitPolicy<O = LimitOptions> {
    pub(crate) limit: RateLimitState,
    pub(crate) options: O,
}

/// The part of the guard that its [handles](crate::RateLimitHandle) share.
#[derive(Debug, Clone)]
pub(crate) struct RateLimitState {
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) bucket: Arc<TokenBucket>,
    /// True if services are not ready while the bucket is empty.
    pub(crate) has_backpressure: bool,
    /// The services that wait until they are ready.
    waiting: WakerSet,
}

impl RateLimitState {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            name: Name::new("ratelimit"),
            clock: Clock::default(),
            bucket: Arc::new(TokenBucket::new(quota)),
            has_backpressure: false,
            waiting: WakerSet::new(),
        }
    }

    /// Replaces the bucket as well, since its times are those of the old clock.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.bucket = Arc::new(TokenBucket::new(self.bucket.quota()));
    }

    /// Changes the quota, and wakes the services that wait for a token by the old one.
    pub(crate) fn set_quota(&self, quota: Quota) {
        self.bucket.set_quota(quota, self.clock.now());
        self.waiting.wake_all();
    }

    #[cold]
    #[inline(never)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.until_next_token()?;
        let changed = self.waiting.notified();
        // Asked again, so that a change of the quota between the two is not missed.
        let wait = self.until_next_token()?;
        Some(Backpressure::new(async move {
            drop(timeout(wait, changed).await);
        }))
    }

    /// Returns the time until there is a token; `None` if there is one.
    fn until_next_token(&self) -> Option<Duration> {
        let TokenBucket { word, gcra, .. } = &*self.bucket;
        let insufficient = gcra.check(word, self.clock.now(), 1, || true).err()?;
        insufficient.retry_after()
    }
}

impl<O: AnyLimitOptions> RateLimitPolicy<O> {
    #[cold]
    #[inline(never)]
    fn reject(&self, insufficient: InsufficientTokens, kind: ProtocolKind) -> Rejection {
        let policy = self.limit.bucket.gcra.policy_header();
        let wait = insufficient.retry_after();
        let bucket = (&insufficient.state, policy);
        self.options
            .end()
            .reject(&self.limit.name, wait, bucket, kind)
    }
}

impl<O: AnyLimitOptions> Policy for RateLimitPolicy<O> {
    type CallState = <O::NeedsEnd as NeedsEnd>::CallState;
    const NEEDS_END: bool = O::NeedsEnd::VALUE;

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        self.options.end().append_headers(state, headers);
    }

    #[inline(always)]
    fn finish(&self, _state: Self::CallState, end: &CallEnd) {
        if O::NeedsEnd::VALUE {
            let cost = self.options.end().cost_of_end(end);
            if cost > 0 {
                self.limit.bucket.charge(end.now(&self.limit.clock), cost);
            }
        }
    }
}

impl<Req, K, C, N, T> Guard<Req> for RateLimitPolicy<LimitOptions<K, C, N, T>>
where
    K: 'static,
    C: CallCost<Req>,
    N: NeedsEnd,
    T: 'static,
{
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<N::CallState, Rejection> {
        let RateLimitState { clock, bucket, .. } = &self.limit;
        let now = call.now(clock);
        match bucket.take(now, self.options.cost.cost(call)) {
            Ok(state) => Ok(N::CallState::new(|| {
                AdmittedCall::without_key(state, bucket.gcra.policy_header())
            })),
            Err(insufficient) => Err(self.reject(insufficient, call.protocol_kind())),
        }
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        if self.limit.has_backpressure {
            self.limit.backpressure()
        } else {
            None
        }
    }
}

impl<O> fmt::Debug for RateLimitPolicy<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitPolicy")
            .field("name", &self.limit.name)
            .field("bucket", &self.limit.bucket)
            .finish_non_exhaustive()
    }
}
