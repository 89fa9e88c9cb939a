use std::{fmt, mem, mem::ManuallyDrop, ops::Deref, sync::Arc};

use crate::{Call, CallEnd, Headers, Policy, RunPolicy};

/// The policies of a layer, shared by its services and calls.
#[doc(hidden)]
pub enum SharedPolicies<R: 'static> {
    /// Reference-counted: freed with the last service and the last call.
    Counted(Arc<R>),
    /// Leaked: never freed, and cloned without a write to shared memory.
    Leaked(&'static R),
}

impl<R> Clone for SharedPolicies<R> {
    #[inline(always)]
    fn clone(&self) -> Self {
        match self {
            Self::Counted(policies) => Self::Counted(Arc::clone(policies)),
            Self::Leaked(policies) => Self::Leaked(policies),
        }
    }
}

impl<R> Deref for SharedPolicies<R> {
    type Target = R;

    #[inline(always)]
    fn deref(&self) -> &R {
        match self {
            Self::Counted(policies) => policies,
            Self::Leaked(policies) => policies,
        }
    }
}

impl<R> fmt::Debug for SharedPolicies<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedPolicies")
    }
}

/// A call in flight: the states of its policies, which finishes them exactly once.
///
/// [`finish`](Self::finish) finishes them with the end of the call, [`poll_with`](Self::poll_with) and
/// [`finish_on_panic`](Self::finish_on_panic) with a failure if the code that they run panics, and a drop as
/// [cancelled](crate::Outcome::Cancelled). A protocol whose responses have a body moves it into the body ([`take`](Self::take)), so
/// that the call ends with the body.
///
/// A driver that has policies of its own, such as a load balancer with guards for each instance, [starts](Self::start) a call itself
/// and runs it in a [`PolicyFuture`](crate::PolicyFuture). If the policies reject the call, the driver still has the request.
pub struct InFlightCall<R: Policy + 'static>(
    ManuallyDrop<Option<(SharedPolicies<R>, R::CallState)>>,
);

impl<R: Policy> InFlightCall<R> {
    /// True if the policies have anything to do between the start of a call and its end.
    pub const IS_TRACKED: bool = R::NEEDS_END || R::WRAPS_POLL;

    /// Starts the policies for one call, for a driver with policies of its own.
    ///
    /// A call in flight holds a reference to `policies` until it is finished, if it [is tracked](Self::IS_TRACKED). [`IntoPolicy`] makes
    /// the policies of layers.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use towerkit_core::{Call, CallEnd, Guard, InFlightCall, IntoPolicy, Outcome, Plain, Policy, Rejection, guard};
    ///
    /// struct Open;
    /// impl Policy for Open {
    ///     type CallState = ();
    ///     fn finish(&self, _state: (), _end: &CallEnd) {}
    /// }
    /// impl<Req> Guard<Req> for Open {
    ///     fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> { Ok(()) }
    /// }
    ///
    /// let policies = Arc::new(guard(Open).into_policy());
    /// let mut request = "a request";
    /// let mut call = InFlightCall::start(&policies, &mut Call::new(&mut request, &Plain::new("open")))?;
    /// assert_eq!(Arc::strong_count(&policies), 2);
    /// call.finish(&CallEnd::new(Outcome::Success));
    /// assert_eq!(Arc::strong_count(&policies), 1);
    /// # Ok::<(), Rejection>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The rejection of the first guard that rejects the call. The policies before it are finished.
    ///
    /// [`IntoPolicy`]: crate::IntoPolicy
    #[inline(always)]
    pub fn start<Req>(policies: &Arc<R>, call: &mut Call<'_, Req>) -> Result<Self, R::Rejection>
    where
        R: RunPolicy<Req>,
    {
        let state = policies.start(call)?;
        Ok(if Self::IS_TRACKED {
            let policies = SharedPolicies::Counted(Arc::clone(policies));
            Self(ManuallyDrop::new(Some((policies, state))))
        } else {
            Self::none()
        })
    }

    #[inline(always)]
    pub(crate) fn new(policies: &SharedPolicies<R>, state: R::CallState) -> Self {
        if Self::IS_TRACKED {
            Self(ManuallyDrop::new(Some((policies.clone(), state))))
        } else {
            Self::none()
        }
    }

    /// Makes a value without a call, for the response to a rejected call.
    #[inline(always)]
    #[must_use]
    pub const fn none() -> Self {
        Self(ManuallyDrop::new(None))
    }

    /// Moves the call out of `self`.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self) -> Self {
        // The states may be large, and there is no need to copy them once the call is finished.
        if self.0.is_some() {
            Self(ManuallyDrop::new(self.0.take()))
        } else {
            Self::none()
        }
    }

    /// Returns true if the call is not finished yet.
    #[inline(always)]
    #[must_use]
    pub fn is_active(&self) -> bool {
        Self::IS_TRACKED && self.0.is_some()
    }

    /// Finishes the call, if it is not finished yet.
    #[inline(always)]
    pub fn finish(&mut self, end: &CallEnd) {
        if let Some((policies, state)) = self.0.take() {
            policies.finish(state, end);
        }
    }

    /// Finishes the call like [`finish`](Self::finish), with an end that is made only if the call is not finished yet.
    ///
    /// `end` may run user code. If it panics, the call is not finished by it; [`finish_on_panic`](Self::finish_on_panic) or the
    /// drop finishes it.
    #[inline(always)]
    pub fn finish_with(&mut self, end: impl FnOnce() -> CallEnd) {
        if self.is_active() {
            let end = end();
            self.finish(&end);
        }
    }

    /// Passes the head of the response to [`Policy::on_response_head`].
    #[inline(always)]
    pub fn on_response_head(&mut self, so_far: &CallEnd) {
        if let Some((policies, state)) = &mut *self.0 {
            policies.on_response_head(state, so_far);
        }
    }

    /// Lets the policies add headers to the response, by [`Policy::add_response_headers`].
    #[inline(always)]
    pub fn add_response_headers(&self, headers: &mut dyn Headers) {
        if let Some((policies, state)) = &*self.0 {
            policies.add_response_headers(state, headers);
        }
    }

    /// Runs one poll of the call inside of [`Policy::wrap_poll`]. If it panics, the call is finished as a failure and the panic
    /// continues.
    #[inline(always)]
    pub fn poll_with<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.finish_on_panic(|in_flight_call| match &mut *in_flight_call.0 {
            Some((policies, state)) => policies.wrap_poll(state, poll),
            None => poll(),
        })
    }

    /// Runs code that may end the call. If it panics, the call is finished as a failure and the panic continues.
    #[inline(always)]
    pub fn finish_on_panic<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        if !Self::IS_TRACKED {
            return run(self);
        }
        let guard = FinishOnPanic(self);
        let result = run(guard.0);
        mem::forget(guard);
        result
    }
}

/// Finishes a call as a failure when it is dropped, which is only by a panic.
///
/// For code that must be inlined everywhere, in place of [`InFlightCall::finish_on_panic`] with a closure.
pub(crate) struct FinishOnPanic<'a, R: Policy + 'static>(pub(crate) &'a mut InFlightCall<R>);

impl<R: Policy> Drop for FinishOnPanic<'_, R> {
    #[cold]
    fn drop(&mut self) {
        self.0.finish(&CallEnd::in_panic());
    }
}

impl<R: Policy> InFlightCall<R> {
    /// Finishes a call that was dropped. Out of line, so that the drop of a finished call is one comparison.
    #[cold]
    #[inline(never)]
    fn cancel(&mut self) {
        self.finish_with(CallEnd::cancelled);
    }
}

impl<R: Policy> Drop for InFlightCall<R> {
    #[inline(always)]
    fn drop(&mut self) {
        if Self::IS_TRACKED && self.0.is_some() {
            self.cancel();
        }
    }
}

impl<R: Policy> fmt::Debug for InFlightCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlightCall")
            .field(&self.is_active())
            .finish()
    }
}
