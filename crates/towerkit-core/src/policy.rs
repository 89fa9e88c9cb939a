use std::fmt;

use crate::{Backpressure, Call, CallEnd, Rejection};

/// What a policy keeps of one call, and learns at its end.
///
/// A policy is data and decisions. It has no future and no `Drop`, and nothing of it is cloned for a call: the plumbing owns all of
/// that. What one call holds is plain data ([`CallState`](Self::CallState)), which comes back in [`finish`](Self::finish) exactly once, on
/// every ending: success, failure, rejection further in, panic, cancellation, end of the body.
///
/// `finish` may run while a panic unwinds. It must not panic itself, since that would abort the process; so it calls no user code
/// and takes no lock that can be poisoned. If it panics all the same outside of an unwinding, the policies around it are still finished.
pub trait Policy {
    /// What is kept for the length of one call.
    type CallState;

    /// Whether [`enter`](Self::enter) does anything. Only then are polls and drops wrapped.
    const WRAPS_POLL: bool = false;

    /// Whether [`head`](Self::head), [`add_response_headers`](Self::response_headers) or [`finish`](Self::finish) do anything.
    ///
    /// Where no policy of a policy stack follows its calls, the plumbing keeps nothing for the length of an admitted one and calls none of the
    /// three. `finish` is still called for a call that goes no further than the policy stack, and must do nothing then.
    const NEEDS_END: bool = true;

    /// Wraps every poll of the call: its future, its body, and their drop.
    #[inline(always)]
    fn wrap_poll<R>(&self, _held: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// Learns that the head of the response is there while the call goes on.
    #[inline(always)]
    fn on_response_head(&self, _held: &mut Self::CallState, _so_far: &CallEnd) {}

    /// Adds fields to the head of an admitted response, where the protocol has fields.
    #[inline(always)]
    fn add_response_headers(&self, _held: &Self::CallState, _fields: &mut dyn Headers) {}

    /// Learns how the call ended, and takes back what it held.
    fn finish(&self, held: Self::CallState, end: &CallEnd);
}

/// May this call go ahead?
///
/// ```
/// use towerkit_core::{Call, CallEnd, Guard, Policy, RejectionReason, Rejection, guard};
/// use towerkit_core::BoxError;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// struct OddHoursOnly { hour: u8 }
///
/// impl Policy for OddHoursOnly {
///     type CallState = ();
///     const NEEDS_END: bool = false;
///     fn finish(&self, _held: (), _end: &CallEnd) {}
/// }
///
/// impl<Req> Guard<Req> for OddHoursOnly {
///     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
///         if self.hour % 2 == 1 { Ok(()) } else { Err(Rejection::new(RejectionReason::Unavailable, "odd hours only")) }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(guard(OddHoursOnly { hour: 4 }))
///     .service_fn(|name: String| async move { Ok::<_, BoxError>(format!("hello, {name}")) });
///
/// let rejected = service.oneshot("Ann".to_owned()).await.unwrap_err();
/// assert_eq!(rejected.to_string(), "odd hours only: unavailable");
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not guard requests of type `{Req}`",
    label = "not a guard for these requests"
)]
pub trait Guard<Req>: Policy {
    /// Admits the call, or rejects it before the inner service hears of it.
    ///
    /// # Errors
    ///
    /// A [`Rejection`], which the protocol turns into the answer.
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Rejection>;

    /// Rejects ahead of any call, so that the inner service need not become ready.
    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        None
    }

    /// Returns a wait if a call would be rejected now and this guard stands under a load balancer.
    ///
    /// Until the wait resolves `poll_ready` is pending, so that a balancer takes another instance; then the guard is asked again.
    /// Nothing is reserved by this: a call is admitted in [`admit`](Self::admit), which may still reject it.
    ///
    /// A balancer skips an instance that is not ready. Anything else waits for it, without a bound: so a guard does this only as an
    /// option. See [`WakerSet`](crate::WakerSet).
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

/// May this call go ahead, if it has to wait for the answer?
///
/// The future that is waited for never owns the request. While it waits, the plumbing holds no readiness of the inner service.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not guard requests of type `{Req}`",
    label = "not a guard for these requests"
)]
pub trait AsyncGuard<Req>: Policy {
    /// What is waited for. Dropping it gives back all that it holds.
    type Wait: Future<Output = Result<Self::CallState, Rejection>>;

    /// Admits the call now or later, or rejects it.
    ///
    /// # Errors
    ///
    /// A [`Rejection`], which the protocol turns into the answer.
    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, Self::Wait>, Rejection>;

    /// Has the last word on the request of a call that was admitted after a wait.
    #[inline(always)]
    fn on_admitted(&self, _held: &mut Self::CallState, _call: &mut Call<'_, Req>) {}

    /// Returns a wait if a call would be rejected now, and this guard stands under a load balancer; see [`Guard::backpressure`].
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

/// What an [`AsyncGuard`] says at once.
#[derive(Debug)]
pub enum Admission<H, W> {
    /// The call goes ahead.
    Now(H),
    /// The call waits for this.
    Later(W),
}

/// What happened?
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not observe requests of type `{Req}`",
    label = "not an observer for these requests"
)]
pub trait Observer<Req>: Policy {
    /// Takes note of a call at its start.
    fn start(&self, call: &mut Call<'_, Req>) -> Self::CallState;
}

/// The fields of a response head.
pub trait Headers {
    /// Sets a field; a value that does not fit in one is left out.
    fn set(&mut self, name: &'static str, value: &dyn fmt::Display);

    /// Adds a value to a field that is a list, behind the values it has; a value that does not fit in one is left out.
    fn append(&mut self, name: &'static str, value: &dyn fmt::Display);
}
