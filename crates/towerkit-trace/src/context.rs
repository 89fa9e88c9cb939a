use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use towerkit_core::TraceIds;

use crate::{Baggage, TraceParent, TraceState};

/// The trace context of the current call: its [`TraceParent`], [`TraceState`] and [`Baggage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: TraceParent,
    propagated: Option<Arc<Propagated>>,
}

/// The parts of a context beside the ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Propagated {
    pub(crate) state: Option<TraceState>,
    pub(crate) baggage: Option<Baggage>,
}

thread_local! {
    /// The propagated parts of the call with this span. For other spans it is ignored, so that a call without such parts need not change it.
    static PROPAGATED: Cell<Option<([u8; 8], Arc<Propagated>)>> = const { Cell::new(None) };
}

impl TraceContext {
    /// Makes a context without state and baggage.
    #[must_use]
    pub const fn new(parent: TraceParent) -> Self {
        Self {
            parent,
            propagated: None,
        }
    }

    /// Returns the context of the call that this thread is polling.
    ///
    /// A spawned task has no context of its own: give it one with [`scope`](Self::scope).
    #[must_use]
    pub fn current() -> Option<Self> {
        let ids = TraceIds::current()?;
        Some(Self {
            parent: TraceParent::of_ids(ids)?,
            propagated: propagated_by(ids.span),
        })
    }

    /// Returns the trace, the span and the flags.
    #[must_use]
    pub const fn parent(&self) -> TraceParent {
        self.parent
    }

    /// Returns the [`TraceState`], the entries of other tracing systems.
    #[must_use]
    pub fn state(&self) -> Option<&TraceState> {
        self.propagated.as_ref()?.state.as_ref()
    }

    /// Returns the [`Baggage`] of the caller.
    #[must_use]
    pub fn baggage(&self) -> Option<&Baggage> {
        self.propagated.as_ref()?.baggage.as_ref()
    }

    /// Runs a future in this context, for example in a spawned task; the future is also dropped in it.
    pub fn scope<F: Future>(self, future: F) -> WithContext<F> {
        WithContext {
            future: Some(Box::pin(future)),
            context: self,
        }
    }

    pub(crate) fn with_propagated(
        parent: TraceParent,
        state: Option<TraceState>,
        baggage: Option<Baggage>,
    ) -> Self {
        let carries = state.is_some() || baggage.is_some();
        let propagated = carries.then(|| Arc::new(Propagated { state, baggage }));
        Self { parent, propagated }
    }

    pub(crate) fn with_baggage(self, baggage: Option<Baggage>) -> Self {
        let state = self.state().cloned();
        Self::with_propagated(self.parent, state, baggage)
    }

    pub(crate) fn into_parts(self) -> (TraceParent, Option<Arc<Propagated>>) {
        (self.parent, self.propagated)
    }

    pub(crate) fn of_parts(parent: TraceParent, propagated: Option<Arc<Propagated>>) -> Self {
        Self { parent, propagated }
    }
}

/// Returns the propagated parts of the call with this span.
fn propagated_by(span: [u8; 8]) -> Option<Arc<Propagated>> {
    // A thread that ends has no context.
    let taken = PROPAGATED.try_with(Cell::take).ok().flatten();
    let propagated = taken.as_ref().filter(|(of, _)| *of == span);
    let propagated = propagated.map(|(_, propagated)| propagated.clone());
    let _ = PROPAGATED.try_with(|cell| cell.set(taken));
    propagated
}

/// Runs a function with `propagated` as the parts of the call with this span.
pub(crate) fn propagate<R>(
    span: [u8; 8],
    propagated: &Arc<Propagated>,
    run: impl FnOnce() -> R,
) -> R {
    struct Restore(Option<([u8; 8], Arc<Propagated>)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = PROPAGATED.try_with(|cell| cell.set(self.0.take()));
        }
    }
    let new = Some((span, propagated.clone()));
    let _restore = Restore(PROPAGATED.try_with(|cell| cell.replace(new)).ok().flatten());
    run()
}

/// A future in a [`TraceContext`], made by [`TraceContext::scope`].
#[derive(Debug)]
pub struct WithContext<F> {
    future: Option<Pin<Box<F>>>,
    context: TraceContext,
}

impl TraceContext {
    fn enter<R>(&self, run: impl FnOnce() -> R) -> R {
        let ids = self.parent.ids();
        TraceIds::enter(Some(ids), || match &self.propagated {
            Some(propagated) => propagate(ids.span, propagated, run),
            None => run(),
        })
    }
}

impl<F: Future> Future for WithContext<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let me = &mut *self;
        me.context.enter(|| {
            let future = me.future.as_mut().expect("not polled after completion");
            let output = ready!(future.as_mut().poll(cx));
            me.future = None;
            Poll::Ready(output)
        })
    }
}

impl<F> Drop for WithContext<F> {
    fn drop(&mut self) {
        let future = self.future.take();
        if future.is_some() {
            self.context.enter(|| drop(future));
        }
    }
}
