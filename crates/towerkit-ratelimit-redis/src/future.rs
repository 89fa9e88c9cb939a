use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt;
use towerkit_core::Rejection;

use crate::limiter::{AnswerFuture, Limiter, TokenRequest};

/// Waits for the answer of Redis, at most for the [timeout](crate::RedisRateLimitLayer::timeout); resolves to the decision.
///
/// All waiting calls of one key share one request, which completes although some of them are dropped. If the answer brings fewer
/// tokens than calls wait, the others request a token each.
#[must_use = "futures do nothing unless polled"]
pub struct RedisWait {
    limiter: Arc<Limiter>,
    request: TokenRequest,
}

impl RedisWait {
    pub(crate) fn new(limiter: &Arc<Limiter>, request: TokenRequest) -> Self {
        Self {
            limiter: limiter.clone(),
            request,
        }
    }
}

impl Future for RedisWait {
    type Output = Result<(), Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { limiter, request } = &mut *self;
        if let AnswerFuture::Shared(answer) = &mut request.answer {
            let answer = ready!(answer.poll_unpin(cx));
            if let Some(decision) = limiter.decide_shared(request, answer) {
                return Poll::Ready(decision);
            }
            limiter.request_own(request);
        }
        let AnswerFuture::Own(answer) = &mut request.answer else {
            unreachable!("a shared request is followed by one of its own");
        };
        let answer = ready!(answer.poll_unpin(cx));
        Poll::Ready(limiter.decide_own(request, answer))
    }
}

impl fmt::Debug for RedisWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisWait").finish_non_exhaustive()
    }
}
