//! The requirements of drivers on a protocol: to inspect results, to replay requests and to drain responses.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use crate::{CallEnd, Classify, Plain, PlainExchange, Protocol};

/// Inspects the result of a call, by which drivers decide on the next step.
#[diagnostic::on_unimplemented(
    message = "towerkit cannot tell the outcome of a response `{T}` or an error `{E}`",
    label = "this protocol does not understand the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)"
)]
pub trait InspectResult<T, E> {
    /// True if [`is_unsent`](Self::is_unsent) ever returns true, so that requests that are not idempotent are worth recording.
    const DETECTS_UNSENT: bool = false;

    /// Returns the end of the call, as far as the result tells: over HTTP the head of the response, before its body.
    fn inspect(&self, result: &Result<T, E>) -> CallEnd;

    /// Returns the request of the upstream about further attempts, if there is one.
    fn pushback(&self, _result: &Result<T, E>) -> Option<Pushback> {
        None
    }

    /// Returns true if the request certainly never reached the upstream, so that another attempt repeats no work.
    ///
    /// For example, the connection was refused, or was closed before the request was sent.
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

/// The request of an upstream about further attempts: [`Retry-After`], or the [pushback] of gRPC.
///
/// [`Retry-After`]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
/// [pushback]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Wait for this time before the next attempt.
    After(Duration),
    /// Make no further attempt.
    Never,
}

/// Drains an unused response, so that its connection can be used again.
#[diagnostic::on_unimplemented(
    message = "towerkit cannot discard a response of type `{T}`",
    label = "this protocol does not understand the service's response",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)"
)]
pub trait DrainResponse<T> {
    /// Reads the rest of the response, up to a limit, and drops it. Dropping this future drops the rest unread.
    type Drain: Future<Output = ()>;

    /// Drains a response.
    fn drain(&self, response: T) -> Self::Drain;
}

/// Replays requests, so that a driver can send them more than once.
///
/// An attempt has the type of the request, so that a driver calls its inner service as it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot replay requests of type `{Req}`",
    label = "this layer has no protocol yet, or one that does not fit these requests",
    note = "for an axum, tonic or hyper service add `.http()` or `.grpc()` to the layer (`use towerkit_http::HttpExt`)",
    note = "for an endpoint add `.rpc()` to the layer (`use towerkit_endpoint::RpcExt`)",
    note = "for any other service add `.plain(\"operation\")` to the layer (`use towerkit_core::LayerExt`)",
    note = "a plain request has to be `Clone`, and the body of an HTTP request has to implement `towerkit_http::ReplayBody`"
)]
pub trait ReplayRequest<Req>: Protocol<Req> {
    /// The recording of a request, from which further attempts are made.
    type Recorded;

    /// Returns true if the request is idempotent; `None` if the protocol cannot tell.
    fn is_idempotent(&self, request: &Req) -> Option<bool>;

    /// Makes the first attempt, and records the request unless its body has more than `max_bytes`.
    fn record(&self, request: Req, max_bytes: usize) -> (Req, Option<Self::Recorded>);

    /// Makes a further attempt; `None` if the body was too long, or if an earlier attempt still reads it.
    fn replay(&self, recorded: &Self::Recorded) -> Option<Req>;
}

impl<T, E, C: Classify<T, E>> InspectResult<T, E> for PlainExchange<C> {
    #[inline(always)]
    fn inspect(&self, result: &Result<T, E>) -> CallEnd {
        let (outcome, rejected) = self.classifier().classify(result);
        CallEnd::new(outcome).with_rejection_reason(rejected)
    }
}

/// Drops a plain response at once.
impl<T, C> DrainResponse<T> for PlainExchange<C> {
    type Drain = Ready<()>;

    #[inline(always)]
    fn drain(&self, _response: T) -> Ready<()> {
        ready(())
    }
}

impl<Req: Clone, C: Clone> ReplayRequest<Req> for Plain<C> {
    type Recorded = Req;

    #[inline(always)]
    fn is_idempotent(&self, _request: &Req) -> Option<bool> {
        None
    }

    #[inline(always)]
    fn record(&self, request: Req, _max_bytes: usize) -> (Req, Option<Req>) {
        (request.clone(), Some(request))
    }

    #[inline(always)]
    fn replay(&self, recorded: &Req) -> Option<Req> {
        Some(recorded.clone())
    }
}
