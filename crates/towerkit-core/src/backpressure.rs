use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

/// A wait for a guard that would reject a call now, returned by [`Guard::backpressure`](crate::Guard::backpressure).
///
/// It resolves when the guard's answer may have changed, and is pending until then: a wait that resolves at once, again and again,
/// spins.
///
/// Many services may wait for one guard, and a service that is woken may never be called. So a guard that frees one slot wakes all
/// of them; [`WakerSet`](crate::WakerSet) does that.
pub struct Backpressure(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Backpressure {
    /// Waits for this future.
    pub fn new(wait: impl Future<Output = ()> + Send + 'static) -> Self {
        // Nothing ever locks it: the mutex makes services `Sync` whose waits are not.
        Self(Mutex::new(Box::pin(wait)))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wait = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        wait.as_mut().poll(cx)
    }
}

impl fmt::Debug for Backpressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backpressure")
    }
}

/// What a policy stack found out about its guards when it was asked whether it is ready.
///
/// Boxed, since it is rare and every admitted call looks whether it is there.
pub(crate) struct Readiness<Q>(Option<Box<NotReady<Q>>>);

enum NotReady<Q> {
    /// A guard is shut: the policy stack is ready, and its next call is rejected.
    Shut(Q),
    /// A guard holds the policy stack back.
    Waits(Backpressure),
}

impl<Q> Readiness<Q> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Waits while a guard holds the policy stack back, and then returns true if a guard is shut.
    #[inline(always)]
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        backpressure: impl Fn() -> Option<Backpressure>,
        shut: impl FnOnce() -> Option<Q>,
    ) -> Poll<bool> {
        if self.0.is_some() {
            ready!(self.poll_again(cx));
        }
        while let Some(wait) = backpressure() {
            ready!(self.wait(wait, cx));
        }
        Poll::Ready(match shut() {
            Some(rejection) => {
                self.0 = Some(Box::new(NotReady::Shut(rejection)));
                true
            }
            None => false,
        })
    }

    #[cold]
    #[inline(never)]
    fn wait(&mut self, wait: Backpressure, cx: &mut Context<'_>) -> Poll<()> {
        self.0 = Some(Box::new(NotReady::Waits(wait)));
        self.poll_again(cx)
    }

    /// Goes on with a wait, and forgets that a guard was shut.
    #[cold]
    #[inline(never)]
    fn poll_again(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(NotReady::Waits(wait)) = self.0.as_deref_mut() {
            ready!(wait.poll(cx));
        }
        self.0 = None;
        Poll::Ready(())
    }

    /// Whether the next call simply begins.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the rejection of the next call, if a guard was shut. A wait is given up.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_rejection(&mut self) -> Option<Q> {
        match *self.0.take()? {
            NotReady::Shut(rejection) => Some(rejection),
            NotReady::Waits(_) => None,
        }
    }
}
