use std::{fmt, mem, mem::ManuallyDrop, ops::Deref, sync::Arc};

use crate::{CallEnd, Headers, Policy};

/// The one place where the policies of a policy stack live: counted, or leaked.
pub enum SharedPolicies<R: 'static> {
    /// Counted: freed with the last service and the last call that holds it.
    Counted(Arc<R>),
    /// Leaked: never freed, and free to clone, also from many threads at once.
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

/// What the policies of a policy stack hold of one call, finished exactly once.
///
/// By hand, by a panic of the code that it guards, or, as cancelled, by its drop. What is held is only ever taken out, so that the
/// drop needs to look once.
pub struct InFlightCall<R: Policy + 'static>(
    ManuallyDrop<Option<(SharedPolicies<R>, R::CallState)>>,
);

impl<R: Policy> InFlightCall<R> {
    /// Whether there is anything to do between the start of a call and its end.
    pub const IS_TRACKED: bool = R::NEEDS_END || R::WRAPS_POLL;

    #[inline(always)]
    pub(crate) fn new(policies: &SharedPolicies<R>, held: R::CallState) -> Self {
        if Self::IS_TRACKED {
            Self(ManuallyDrop::new(Some((policies.clone(), held))))
        } else {
            Self::none()
        }
    }

    /// Holds nothing: for a response that no call is behind, such as a rejection.
    #[inline(always)]
    #[must_use]
    pub const fn none() -> Self {
        Self(ManuallyDrop::new(None))
    }

    /// Moves what is held out of here.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self) -> Self {
        // What is held may be large: of a call that is finished there is nothing to copy.
        if self.0.is_some() {
            Self(ManuallyDrop::new(self.0.take()))
        } else {
            Self::none()
        }
    }

    /// Whether the call is still to be finished.
    #[inline(always)]
    #[must_use]
    pub fn is_active(&self) -> bool {
        Self::IS_TRACKED && self.0.is_some()
    }

    /// Finishes the call, if it is not finished yet.
    #[inline(always)]
    pub fn finish(&mut self, end: &CallEnd) {
        if let Some((policies, held)) = self.0.take() {
            policies.finish(held, end);
        }
    }

    /// Finishes the call like [`finish`](Self::finish), with an end that is made only if there is a call to finish.
    ///
    /// Making it may run user code. If that panics, the call is still to be finished, by [`finish_on_panic`](Self::finish_on_panic) or by the drop.
    #[inline(always)]
    pub fn finish_with(&mut self, end: impl FnOnce() -> CallEnd) {
        if self.is_active() {
            let end = end();
            self.finish(&end);
        }
    }

    /// Tells the policies what the head of the response said.
    #[inline(always)]
    pub fn on_response_head(&mut self, so_far: &CallEnd) {
        if let Some((policies, held)) = &mut *self.0 {
            policies.on_response_head(held, so_far);
        }
    }

    /// Lets the policies add fields to the head of the response.
    #[inline(always)]
    pub fn add_response_headers(&self, fields: &mut dyn Headers) {
        if let Some((policies, held)) = &*self.0 {
            policies.add_response_headers(held, fields);
        }
    }

    /// Runs one poll of the call inside its policies. If it panics, the call is finished as a failure and the panic goes on.
    #[inline(always)]
    pub fn poll_with<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.finish_on_panic(|in_flight_call| match &mut *in_flight_call.0 {
            Some((policies, held)) => policies.wrap_poll(held, poll),
            None => poll(),
        })
    }

    /// Runs code that may end the call. If it panics, the call is finished as a failure and the panic goes on.
    #[inline(always)]
    pub fn finish_on_panic<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        struct FinishOnPanic<'a, R: Policy + 'static>(&'a mut InFlightCall<R>);
        impl<R: Policy> Drop for FinishOnPanic<'_, R> {
            #[cold]
            fn drop(&mut self) {
                self.0.finish(&CallEnd::in_panic());
            }
        }
        if !Self::IS_TRACKED {
            return run(self);
        }
        let guard = FinishOnPanic(self);
        let result = run(guard.0);
        mem::forget(guard);
        result
    }
}

impl<R: Policy> InFlightCall<R> {
    /// Finishes a call that was dropped. Out of line, so that the drop of a call that has ended is a look at one word.
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
