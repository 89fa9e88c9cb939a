//! What drivers need of a protocol: to look at a result, and to send a request more than once.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use crate::{CallEnd, Classify, Plain, PlainExchange, Protocol};

/// Looks at a result without taking it: what drivers decide by.
#[diagnostic::on_unimplemented(
    message = "towerkit cannot tell the outcome of a response `{T}` or an error `{E}`",
    label = "this protocol does not understand the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)"
)]
pub trait InspectResult<T, E> {
    /// Whether [`is_unsent`](Self::is_unsent) ever says yes. Only then is it worth keeping a request that is not idempotent.
    const DETECTS_UNSENT: bool = false;

    /// Returns how the call ended, as far as the result tells: over HTTP what the head says, before any of the body.
    fn inspect(&self, result: &Result<T, E>) -> CallEnd;

    /// Returns what the callee asks of a caller who would try again.
    fn pushback(&self, _result: &Result<T, E>) -> Option<Pushback> {
        None
    }

    /// Whether the request certainly never reached the callee, so that trying again repeats nothing: the connection was refused, or
    /// was closed before the request went out.
    fn is_unsent(&self, _result: &Result<T, E>) -> bool {
        false
    }

    /// Returns the value of a response header, if there is a response that has it and the value is text.
    fn header<'a>(&self, _result: &'a Result<T, E>, _name: &str) -> Option<&'a str> {
        None
    }

    /// Sets a header of the response, if there is a response and the protocol has headers.
    fn set_header(&self, _result: &mut Result<T, E>, _name: &'static str, _value: &str) {}

    /// Inserts a value into the extensions of the response, if there is a response and the protocol has extensions.
    fn insert_extension<V: Clone + Send + Sync + 'static>(
        &self,
        _result: &mut Result<T, E>,
        _value: V,
    ) {
    }
}

/// What a callee asks of a caller who would try again: `Retry-After`, or the pushback of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// To wait that long.
    After(Duration),
    /// Not to try again.
    Never,
}

/// Discards a response that is of no use any more, so that its connection can be used again.
#[diagnostic::on_unimplemented(
    message = "towerkit cannot discard a response of type `{T}`",
    label = "this protocol does not understand the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)"
)]
pub trait DrainResponse<T> {
    /// Reads the rest of the response, within bounds, and drops it. Dropping this future drops the rest unread.
    type Drain: Future<Output = ()>;

    /// Discards a response.
    fn drain(&self, response: T) -> Self::Drain;
}

/// Sends a request more than once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot repeat requests of type `{Req}`",
    label = "how this layer reads calls is not said, or does not fit these requests",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for any other service add `.plain(\"operation\")` to the layer (`use towerkit_core::LayerExt`)",
    note = "a request that may be sent again is kept: a plain request has to be `Clone`; the body of an HTTP request has to be `Unpin` with `Data = Bytes`"
)]
pub trait ReplayRequest<Req>: Protocol<Req> {
    /// What the inner service is called with.
    type Attempt;

    /// What is kept of the request, to make further attempts of.
    type Recorded;

    /// Whether sending the request twice does the same as sending it once; `None` where the protocol cannot tell.
    fn is_idempotent(&self, request: &Req) -> Option<bool>;

    /// Makes the only attempt of a request that is not to be repeated.
    fn once(&self, request: Req) -> Self::Attempt;

    /// Makes the first attempt, and keeps what further ones need, unless that is more than `cap` bytes of body.
    fn record(&self, request: Req, cap: usize) -> (Self::Attempt, Option<Self::Recorded>);

    /// Makes a further attempt, or `None` if the body has turned out too long or an earlier attempt is still reading it.
    fn replay(&self, kept: &mut Self::Recorded) -> Option<Self::Attempt>;

    /// Sets a field of an attempt, where the protocol has fields.
    fn set_attempt_header(&self, attempt: &mut Self::Attempt, name: &'static str, value: &str);
}

impl<T, E, C: Classify<T, E>> InspectResult<T, E> for PlainExchange<C> {
    #[inline(always)]
    fn inspect(&self, result: &Result<T, E>) -> CallEnd {
        let (outcome, rejected) = self.classifier().classify(result);
        CallEnd::new(outcome).with_rejection_reason(rejected)
    }
}

/// A plain response is dropped at once.
impl<T, C> DrainResponse<T> for PlainExchange<C> {
    type Drain = Ready<()>;

    #[inline(always)]
    fn drain(&self, _response: T) -> Ready<()> {
        ready(())
    }
}

impl<Req: Clone, C: Clone> ReplayRequest<Req> for Plain<C> {
    type Attempt = Req;
    type Recorded = Req;

    #[inline(always)]
    fn is_idempotent(&self, _request: &Req) -> Option<bool> {
        None
    }

    #[inline(always)]
    fn once(&self, request: Req) -> Req {
        request
    }

    #[inline(always)]
    fn record(&self, request: Req, _cap: usize) -> (Req, Option<Req>) {
        (request.clone(), Some(request))
    }

    #[inline(always)]
    fn replay(&self, kept: &mut Req) -> Option<Req> {
        Some(kept.clone())
    }

    #[inline(always)]
    fn set_attempt_header(&self, _attempt: &mut Req, _name: &'static str, _value: &str) {}
}
