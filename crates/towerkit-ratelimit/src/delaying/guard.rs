use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Clock, Headers, Name, Policy, ProtocolKind, Rejection,
    TypeBool,
};

use super::{
    AcquireFuture,
    queued_bucket::{Enqueued, QueueLimits, QueuedBucket},
};
use crate::{
    AnyLimitOptions, LimitOptions, Quota,
    config::{AdmittedCall, CallCost, CallState, NeedsEnd},
    gcra::InsufficientTokens,
};

/// The guard behind [`DelayingRateLimitLayer`](crate::DelayingRateLimitLayer): lets a call wait for its tokens.
#[derive(Clone)]
pub struct DelayingRateLimitPolicy<O = LimitOptions> {
    pub(crate) limit: DelayingState,
    pub(crate) options: O,
}

/// The part of the guard that its [handles](crate::DelayingRateLimitHandle) share.
#[derive(Debug, Clone)]
pub(crate) struct DelayingState {
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) queue: QueueLimits,
    pub(crate) bucket: Arc<QueuedBucket>,
}

impl DelayingState {
    pub(crate) fn new(quota: Quota, max_wait: Duration) -> Self {
        Self {
            name: Name::new("ratelimit"),
            clock: Clock::default(),
            queue: QueueLimits {
                max_wait,
                max_len: 10_000,
            },
            bucket: Arc::new(QueuedBucket::new(quota)),
        }
    }

    /// Replaces the bucket and the queue as well, since their times are those of the old clock.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.bucket = Arc::new(QueuedBucket::new(self.bucket.bucket().quota()));
    }
}

type Admitted<N> = Admission<<N as NeedsEnd>::CallState, AcquireFuture<<N as NeedsEnd>::CallState>>;

impl<O: AnyLimitOptions> DelayingRateLimitPolicy<O> {
    #[cold]
    #[inline(never)]
    fn enqueue(
        &self,
        insufficient: InsufficientTokens,
        now: u64,
        cost: u32,
        deadline: Option<Duration>,
        kind: ProtocolKind,
    ) -> Result<Admitted<O::NeedsEnd>, Rejection> {
        let DelayingState {
            clock,
            queue,
            bucket,
            ..
        } = &self.limit;
        if insufficient.retry_after().is_none() {
            return Err(self.reject(&insufficient, None, kind));
        }
        let max_wait = deadline.unwrap_or(Duration::MAX);
        match bucket.enqueue(now, cost, *queue, max_wait) {
            Enqueued::Admitted => Ok(Admission::Now(<O::NeedsEnd as NeedsEnd>::CallState::new(
                || bucket.admitted_call(now),
            ))),
            Enqueued::Waiting(ticket) => {
                let future = AcquireFuture::new(bucket.clone(), clock.clone(), ticket, cost);
                Ok(Admission::Later(future))
            }
            Enqueued::Rejected(wait) => Err(self.reject(&insufficient, Some(wait), kind)),
        }
    }

    fn reject(
        &self,
        insufficient: &InsufficientTokens,
        retry_after: Option<Duration>,
        kind: ProtocolKind,
    ) -> Rejection {
        let policy = self.limit.bucket.bucket().gcra.policy_header();
        let bucket = (&insufficient.state, policy);
        let name = &self.limit.name;
        self.options.end().reject(name, retry_after, bucket, kind)
    }
}

impl<O: AnyLimitOptions> Policy for DelayingRateLimitPolicy<O> {
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

impl<Req, K, C, N, T> AsyncGuard<Req> for DelayingRateLimitPolicy<LimitOptions<K, C, N, T>>
where
    K: 'static,
    C: CallCost<Req>,
    N: NeedsEnd,
    T: 'static,
{
    type Wait = AcquireFuture<N::CallState>;

    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admitted<N>, Rejection> {
        let now = call.now(&self.limit.clock);
        let cost = self.options.cost.cost(call);
        let bucket = self.limit.bucket.bucket();
        match bucket.take(now, cost) {
            Ok(state) => Ok(Admission::Now(N::CallState::new(|| {
                AdmittedCall::without_key(state, bucket.gcra.policy_header())
            }))),
            Err(insufficient) => {
                let deadline = call.deadline().map(|deadline| deadline.remaining());
                self.enqueue(insufficient, now, cost, deadline, call.protocol_kind())
            }
        }
    }
}

impl<O> fmt::Debug for DelayingRateLimitPolicy<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayingRateLimitPolicy")
            .field("name", &self.limit.name)
            .field("queue", &self.limit.queue)
            .field("bucket", &self.limit.bucket)
            .finish_non_exhaustive()
    }
}
