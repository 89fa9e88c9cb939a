use std::{fmt, sync::Arc};

use towerkit_core::{
    Backpressure, Call, CallEnd, False, Headers, Policy, PolicyShape, Rejection, RejectionType,
    RunPolicy, True,
};

use crate::instance_stats::InstanceStats;

/// The policies of one instance: its guards, and the statistics of the balancer.
///
/// A load balancer starts them for each call to the instance. The number of calls in flight is the number of references to this value:
/// each call holds one to its end, however it ends, so that the number cannot drift.
#[repr(C)]
pub struct InstancePolicy<R> {
    pub(crate) stats: InstanceStats,
    guards: Arc<R>,
}

impl<R> InstancePolicy<R> {
    pub(crate) fn new(stats: InstanceStats, guards: Arc<R>) -> Self {
        Self { stats, guards }
    }

    /// Returns the number of calls in flight, given that one reference belongs to the set of instances.
    #[inline(always)]
    pub(crate) fn calls_in_flight(self: &Arc<Self>) -> u32 {
        // Not more than 2^32: each has a future.
        Arc::strong_count(self) as u32 - 1
    }
}

impl<R: Policy> Policy for InstancePolicy<R> {
    type CallState = (R::CallState, u64);
    const WRAPS_POLL: bool = R::WRAPS_POLL;

    #[inline(always)]
    fn wrap_poll<T>(&self, state: &mut Self::CallState, poll: impl FnOnce() -> T) -> T {
        self.guards.wrap_poll(&mut state.0, poll)
    }

    #[inline(always)]
    fn on_response_head(&self, state: &mut Self::CallState, so_far: &CallEnd) {
        let (guards, started) = state;
        self.stats.on_response_head(started, so_far);
        self.guards.on_response_head(guards, so_far);
    }

    #[inline(always)]
    fn add_response_headers(&self, state: &Self::CallState, headers: &mut dyn Headers) {
        self.guards.add_response_headers(&state.0, headers);
    }

    #[inline(always)]
    fn finish(&self, (guards, started): Self::CallState, end: &CallEnd) {
        self.stats.on_end(started, end);
        self.guards.finish(guards, end);
    }
}

impl<R: PolicyShape> PolicyShape for InstancePolicy<R> {
    /// The balancer rejects calls, too.
    type Rejection = Rejection;
    type MayWait = False;
    type NeedsEnd = True;
}

impl<Req, R: RunPolicy<Req>> RunPolicy<Req> for InstancePolicy<R> {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Rejection> {
        match self.guards.start(call) {
            Ok(state) => Ok((state, self.stats.start(|clock| call.now(clock)))),
            Err(rejection) => Err(rejection.into_rejection()),
        }
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        self.guards
            .early_rejection()
            .map(RejectionType::into_rejection)
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.guards.backpressure()
    }
}

impl<R> fmt::Debug for InstancePolicy<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePolicy")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
