use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    Admission, AsyncGuard, Backpressure, Call, CallEnd, Deadline, Guard, Policy, Rejection,
    RejectionReason,
};

use crate::{
    AcquireFuture, ClassifyPriority, SingleClass,
    classes::ClassIndex,
    limiter::Enqueued,
    partitions::Partitions,
    state::{LimitState, Permit},
};

/// The [`Guard`] of a [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer), shared by its services.
///
/// `K` [classifies](ClassifyPriority) the calls.
#[derive(Clone)]
pub struct ConcurrencyLimitPolicy<K = SingleClass> {
    pub(crate) state: Arc<LimitState>,
    pub(crate) classifier: K,
}

impl<K> Policy for ConcurrencyLimitPolicy<K> {
    type CallState = Permit;

    #[inline(always)]
    fn finish(&self, permit: Permit, end: &CallEnd) {
        self.state.release(permit, end);
    }
}

/// Rejects calls above the limit at once.
impl<Req, K: ClassifyPriority<Req>> Guard<Req> for ConcurrencyLimitPolicy<K> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Permit, Rejection> {
        match self.try_acquire(call) {
            Ok(permit) => Ok(permit),
            Err(_) => Err(self.state.rejection(RejectionReason::Overloaded)),
        }
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        let is_full = || {
            let state = self.state.limiter.state();
            state.in_flight() >= state.limit()
        };
        let waiters = self.state.ready_waiters.as_ref()?;
        waiters.backpressure_while(is_full)
    }
}

/// Queues calls above the limit.
impl<Req, K: ClassifyPriority<Req>> AsyncGuard<Req> for ConcurrencyLimitPolicy<K> {
    type Wait = AcquireFuture;

    #[inline(always)]
    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Permit, AcquireFuture>, Rejection> {
        match self.try_acquire(call) {
            Ok(permit) => Ok(Admission::Now(permit)),
            Err(class) => enqueue(&self.state, class, call),
        }
    }

    /// Starts the measured duration, which excludes the time in the queue.
    fn on_admitted(&self, permit: &mut Permit, call: &mut Call<'_, Req>) {
        permit.started = self.state.started(call);
    }
}

impl<K> ConcurrencyLimitPolicy<K> {
    /// Takes a permit if one is free and no call waits; otherwise returns the class to wait in.
    #[inline(always)]
    fn try_acquire<Req>(&self, call: &mut Call<'_, Req>) -> Result<Permit, ClassIndex>
    where
        K: ClassifyPriority<Req>,
    {
        let state = &*self.state;
        let origin = if K::HAS_CLASSES {
            let class = self.classifier.classify(call);
            let class = state.config.classes.resolve(&class);
            let now = if state.limiter.is_partitioned() {
                call.now(&state.config.clock)
            } else {
                0
            };
            let acquired = state.limiter.try_acquire_as(class, now, false);
            acquired.ok_or(class)?
        } else if state.limiter.try_acquire() {
            Partitions::NONE
        } else {
            return Err(ClassIndex::SINGLE);
        };
        Ok(Permit {
            origin,
            started: state.started(call),
        })
    }
}

/// Adds a call to the queue, unless its [`Deadline`] has passed.
#[cold]
#[inline(never)]
fn enqueue<Req>(
    state: &Arc<LimitState>,
    class: ClassIndex,
    call: &mut Call<'_, Req>,
) -> Result<Admission<Permit, AcquireFuture>, Rejection> {
    let deadline = call.deadline();
    let left = match deadline.as_ref().map(Deadline::remaining) {
        Some(Duration::ZERO) => return Err(state.rejection(RejectionReason::DeadlineExceeded)),
        Some(left) => u64::try_from(left.as_nanos()).unwrap_or(u64::MAX),
        None => u64::MAX,
    };
    let now = call.now(&state.config.clock);
    match state.limiter.enqueue(class, left, now) {
        Enqueued::Admitted(origin) => Ok(Admission::Now(Permit {
            origin,
            started: state.started(call),
        })),
        Enqueued::Waiting { key, expires } => {
            let timeout_reason = if expires == now.saturating_add(left) {
                RejectionReason::DeadlineExceeded
            } else {
                RejectionReason::Overloaded
            };
            let state = state.clone();
            let wait = AcquireFuture::new(state, key, expires, deadline, timeout_reason);
            Ok(Admission::Later(wait))
        }
        Enqueued::Full => Err(state.rejection(RejectionReason::Overloaded)),
    }
}

impl<K> fmt::Debug for ConcurrencyLimitPolicy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
