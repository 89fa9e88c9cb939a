use std::sync::Arc;

use towerkit_core::{Call, Clock, End, Guard, Policy, Reason, Rejection};

use crate::{Quota, bucket::Bucket};

/// The guard behind [`RateLimitLayer`](crate::RateLimitLayer): admits a call for a token.
#[derive(Debug, Clone)]
pub struct RateLimit {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) quota: Quota,
    pub(crate) bucket: Arc<Bucket>,
}

impl RateLimit {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            name: "ratelimit",
            clock: Clock::default(),
            quota,
            bucket: Arc::new(Bucket::new(quota.spacing())),
        }
    }
}

impl Policy for RateLimit {
    type Held = ();
    const FOLLOWS: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &End) {}
}

impl<Req> Guard<Req> for RateLimit {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let now = call.now(&self.clock);
        self.bucket
            .take(now)
            .map_err(|wait| Rejection::new(Reason::RateLimited, self.name).retry_after(wait))
    }
}
