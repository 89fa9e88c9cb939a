use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, header::AUTHORIZATION};
use towerkit_core::{Admission, AsyncGuard, Call, CallEnd, Policy, Rejection};

use super::config::TokenState;

/// The guard behind [`AccessTokenLayer`](crate::AccessTokenLayer).
#[derive(Debug, Clone)]
pub struct AccessTokenPolicy(pub(crate) Arc<TokenState>);

/// The wait of a call for a token.
pub struct AccessTokenFuture(
    Pin<Box<dyn Future<Output = Result<Option<HeaderValue>, Rejection>> + Send>>,
);

impl Policy for AccessTokenPolicy {
    /// The header of a call that has waited, until it is in the request.
    type CallState = Option<HeaderValue>;
    const NEEDS_END: bool = false;

    fn finish(&self, _header: Option<HeaderValue>, _end: &CallEnd) {}
}

impl<B> AsyncGuard<Request<B>> for AccessTokenPolicy {
    type Wait = AccessTokenFuture;

    fn admit(
        &self,
        call: &mut Call<'_, Request<B>>,
    ) -> Result<Admission<Option<HeaderValue>, AccessTokenFuture>, Rejection> {
        let state = &self.0;
        if let Some(header) = state.header() {
            call.request.headers_mut().insert(AUTHORIZATION, header);
            return Ok(Admission::Now(None));
        }
        let waiter = state.start().ok_or_else(|| state.rejection())?;
        // A token that is signed here is there already.
        if let Some(header) = state.header() {
            call.request.headers_mut().insert(AUTHORIZATION, header);
            return Ok(Admission::Now(None));
        }
        let state = Arc::clone(state);
        Ok(Admission::Later(AccessTokenFuture(Box::pin(async move {
            // The error is in the events.
            let _ = waiter.wait().await;
            state.header().map(Some).ok_or_else(|| state.rejection())
        }))))
    }

    fn on_admitted(&self, header: &mut Option<HeaderValue>, call: &mut Call<'_, Request<B>>) {
        if let Some(header) = header.take() {
            call.request.headers_mut().insert(AUTHORIZATION, header);
        }
    }
}

impl Future for AccessTokenFuture {
    type Output = Result<Option<HeaderValue>, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for AccessTokenFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokenFuture").finish_non_exhaustive()
    }
}
