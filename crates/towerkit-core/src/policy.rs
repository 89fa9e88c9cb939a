use std::fmt;

use crate::{Backpressure, Call, CallEnd, Rejection};

/// The part that a [`Guard`], an [`AsyncGuard`] and an [`Observer`] have in common: the state of a call and its end.
///
/// A policy decides or observes; it never sees a future, a waker or a body. The middleware stores the state of each call
/// ([`CallState`](Self::CallState)), plain data that the policy returns at the start, and passes it to [`finish`](Self::finish) exactly
/// once, however the call ends: with a success or a failure, with the end of the response body, with a rejection by a policy further
/// in, with a panic, or with a cancellation.
///
/// Only `CallState` and `finish` are required. The other methods are hooks with empty defaults.
///
/// `finish` may run while a panic unwinds, where a second panic aborts the process. It therefore calls no user code and takes no lock
/// that can be poisoned. If it panics outside of an unwinding, the policies around it are still finished.
pub trait Policy {
    /// The state of one call between its start and its end.
    type CallState;

    /// True if [`wrap_poll`](Self::wrap_poll) does anything; false by default. The middleware wraps polls and drops only if it is true.
    const WRAPS_POLL: bool = false;

    /// True if [`finish`](Self::finish) or a hook for the response does anything; true by default.
    ///
    /// If it is false for all policies of a stack, the middleware stores no state for an admitted call and calls none of the hooks. It
    /// still calls `finish` for a call that a later policy of the stack rejects; `finish` must do nothing then.
    const NEEDS_END: bool = true;

    /// Runs one poll of the call: of its future or its body, or the drop of either.
    ///
    /// A tracing layer enters its span here. The method must call `poll`, and return its result.
    #[inline(always)]
    fn wrap_poll<R>(&self, _state: &mut Self::CallState, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// Observes the head of the response, while the body is still to come.
    #[inline(always)]
    fn on_response_head(&self, _state: &mut Self::CallState, _so_far: &CallEnd) {}

    /// Adds headers to the response of an admitted call, if the protocol has headers.
    #[inline(always)]
    fn add_response_headers(&self, _state: &Self::CallState, _headers: &mut dyn Headers) {}

    /// Finishes the call, and takes its state back. Called exactly once for each call that was started.
    fn finish(&self, state: Self::CallState, end: &CallEnd);
}

/// A policy that admits or rejects each call at once, such as a rate limit or a circuit breaker.
///
/// [`guard`](crate::guard) makes a layer of it. A guard that has to wait, for a permit for example, is an [`AsyncGuard`].
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
///     fn finish(&self, _state: (), _end: &CallEnd) {}
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
    /// Admits the call and returns its state, or rejects it. The inner service does not see a rejected call.
    ///
    /// # Errors
    ///
    /// A [`Rejection`], which the [`Protocol`](crate::Protocol) converts into a response or an error.
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Self::CallState, Rejection>;

    /// Returns a rejection if the next call would certainly be rejected; `None` by default.
    ///
    /// `poll_ready` asks before each call. With a rejection it is ready without polling the inner service, and the call that follows is
    /// rejected.
    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        None
    }

    /// Returns a wait if a call would be rejected now and the guard is used under a load balancer; `None` by default.
    ///
    /// `poll_ready` is pending until the wait resolves, so that the balancer chooses another instance; then it asks again. Readiness
    /// reserves nothing: [`admit`](Self::admit) may still reject the call.
    ///
    /// A caller without a balancer waits for readiness without a bound. Make it an option of the layer, which is off by default.
    /// [`WakerSet`](crate::WakerSet) makes the wait.
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

/// A policy that may wait before it admits or rejects a call, such as a concurrency limit with a queue.
///
/// [`async_guard`](crate::async_guard) makes a layer of it. The future that a call waits for ([`Wait`](Self::Wait)) does not own the
/// request: the middleware stores the request and a clone of the inner service. While a call waits, it holds no readiness of the inner
/// service.
///
/// ```
/// use std::sync::Arc;
/// use tokio::sync::{OwnedSemaphorePermit, Semaphore};
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_core::{Admission, AsyncGuard, BoxError, Call, CallEnd, Policy, Rejection, async_guard};
///
/// /// Runs at most as many calls at a time as there are permits; the others wait.
/// struct Permits(Arc<Semaphore>);
///
/// impl Policy for Permits {
///     type CallState = OwnedSemaphorePermit;
///     fn finish(&self, permit: OwnedSemaphorePermit, _end: &CallEnd) {
///         drop(permit);
///     }
/// }
///
/// impl<Req> AsyncGuard<Req> for Permits {
///     type Wait = std::pin::Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Rejection>> + Send>>;
///
///     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<Admission<OwnedSemaphorePermit, Self::Wait>, Rejection> {
///         let permits = Arc::clone(&self.0);
///         Ok(match Arc::clone(&permits).try_acquire_owned() {
///             Ok(permit) => Admission::Now(permit),
///             Err(_) => Admission::Later(Box::pin(async { Ok(permits.acquire_owned().await.expect("never closed")) })),
///         })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(async_guard(Permits(Arc::new(Semaphore::new(1)))))
///     .service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
///
/// let (one, other) = tokio::join!(service.clone().oneshot(1), service.oneshot(2));
/// assert_eq!((one.unwrap(), other.unwrap()), (2, 4));
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not guard requests of type `{Req}`",
    label = "not a guard for these requests"
)]
pub trait AsyncGuard<Req>: Policy {
    /// The future that a call waits for. Dropping it releases everything that it holds, such as its place in a queue.
    type Wait: Future<Output = Result<Self::CallState, Rejection>>;

    /// Admits the call at once, lets it wait, or rejects it.
    ///
    /// # Errors
    ///
    /// A [`Rejection`], which the [`Protocol`](crate::Protocol) converts into a response or an error.
    fn admit(
        &self,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Self::CallState, Self::Wait>, Rejection>;

    /// Changes the request of a call that was admitted after a wait, before the inner service is called.
    #[inline(always)]
    fn on_admitted(&self, _state: &mut Self::CallState, _call: &mut Call<'_, Req>) {}

    /// Returns a wait if a call would be rejected now and the guard is used under a load balancer; see [`Guard::backpressure`].
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        None
    }
}

/// The decision of an [`AsyncGuard`] on a call that it does not reject.
#[derive(Debug)]
pub enum Admission<C, W> {
    /// The call is admitted, with this state.
    Now(C),
    /// The call waits for this future.
    Later(W),
}

impl<C, W> Admission<C, W> {
    /// Converts the state of a call that is admitted.
    pub(crate) fn map<D>(self, convert: impl FnOnce(C) -> D) -> Admission<D, W> {
        match self {
            Self::Now(state) => Admission::Now(convert(state)),
            Self::Later(wait) => Admission::Later(wait),
        }
    }
}

/// A policy that observes calls, such as a log or metrics.
///
/// [`observe`](crate::observe) makes a layer of it. An observer can neither reject nor delay a call. It can change the request at the
/// start, for example to add a header by which the upstream continues a trace.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_core::{BoxError, Call, CallEnd, Clock, LayerExt, Observer, Policy, observe};
///
/// /// Adds up the time that calls take.
/// #[derive(Default)]
/// struct Durations { clock: Clock, nanos: AtomicU64 }
///
/// impl Policy for Durations {
///     /// The time of the start.
///     type CallState = u64;
///     fn finish(&self, started: u64, end: &CallEnd) {
///         self.nanos.fetch_add(end.now(&self.clock) - started, Relaxed);
///     }
/// }
///
/// impl<Req> Observer<Req> for Durations {
///     fn start(&self, call: &mut Call<'_, Req>) -> u64 {
///         call.now(&self.clock)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let durations = Arc::new(Durations::default());
/// let service = ServiceBuilder::new()
///     .layer(observe(Arc::clone(&durations)).plain("double"))
///     .service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
/// service.oneshot(4).await.unwrap();
/// assert!(durations.nanos.load(Relaxed) > 0);
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not observe requests of type `{Req}`",
    label = "not an observer for these requests"
)]
pub trait Observer<Req>: Policy {
    /// Observes the start of a call, and returns its state.
    fn start(&self, call: &mut Call<'_, Req>) -> Self::CallState;
}

/// The headers of a response, to which [`Policy::add_response_headers`] adds.
pub trait Headers {
    /// Sets a header, and replaces its values. A value that is not valid in a header is ignored.
    fn set(&mut self, name: &'static str, value: &dyn fmt::Display);

    /// Appends a value to a header that is a list. A value that is not valid in a header is ignored.
    fn append(&mut self, name: &'static str, value: &dyn fmt::Display);
}
