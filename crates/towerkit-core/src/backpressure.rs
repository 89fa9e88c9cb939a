use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

/// The wait for a guard that would reject calls now, returned by [`Guard::backpressure`](crate::Guard::backpressure).
///
/// It resolves when the guard may admit calls again, and is pending until then. A wait that always resolves at once makes
/// `poll_ready` spin.
///
/// Many services may wait for one guard, and a service that is woken may never be called. A guard that frees one permit therefore
/// wakes all of them; [`WakerSet`](crate::WakerSet) does that.
pub struct Backpressure(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Backpressure {
    /// Makes a wait of a future.
    pub fn new(wait: impl Future<Output = ()> + Send + 'static) -> Self {
        // The mutex is never locked: it makes a service `Sync` if the future is not.
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

/// The readiness of the guards of a policy stack.
///
/// Boxed, since it is rare, and each admitted call checks for it.
pub(crate) struct Readiness<Q>(Option<Box<NotReady<Q>>>);

enum NotReady<Q> {
    /// A guard had an early rejection: the stack is ready, and its next call is rejected.
    Rejects(Q),
    /// A guard applies backpressure.
    Waits(Backpressure),
}

impl<Q> Readiness<Q> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Waits while a guard applies backpressure, and then returns true if a guard has an early rejection.
    #[inline(always)]
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        backpressure: impl Fn() -> Option<Backpressure>,
        early_rejection: impl FnOnce() -> Option<Q>,
    ) -> Poll<bool> {
        if self.0.is_some() {
            ready!(self.poll_again(cx));
        }
        while let Some(wait) = backpressure() {
            ready!(self.wait(wait, cx));
        }
        Poll::Ready(match early_rejection() {
            Some(rejection) => {
                self.0 = Some(Box::new(NotReady::Rejects(rejection)));
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

    /// Polls the wait, or discards the early rejection.
    #[cold]
    #[inline(never)]
    fn poll_again(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(NotReady::Waits(wait)) = self.0.as_deref_mut() {
            ready!(wait.poll(cx));
        }
        self.0 = None;
        Poll::Ready(())
    }

    /// Returns true if no guard had an early rejection or applies backpressure.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the early rejection, if there is one. Cancels a wait.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_rejection(&mut self) -> Option<Q> {
        match *self.0.take()? {
            NotReady::Rejects(rejection) => Some(rejection),
            NotReady::Waits(_) => None,
        }
    }
}
