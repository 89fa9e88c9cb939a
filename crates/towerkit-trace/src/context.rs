use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use towerkit_core::TraceIds;

use crate::{Baggage, TraceParent, TraceState};

/// Where the work of this moment stands in its trace, and what travels along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: TraceParent,
    carried: Option<Arc<Carried>>,
}

/// What travels along with a trace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) state: Option<TraceState>,
    pub(crate) baggage: Option<Baggage>,
}

thread_local! {
    /// What the call with this span carries. Of other spans it says nothing, so that a call that carries nothing need not look here.
    static CARRIED: Cell<Option<([u8; 8], Arc<Carried>)>> = const { Cell::new(None) };
}

impl TraceContext {
    /// A context that carries nothing along.
    #[must_use]
    pub const fn new(parent: TraceParent) -> Self {
        Self {
            parent,
            carried: None,
        }
    }

    /// Returns the context of the call that this thread is polling.
    ///
    /// A task that is spawned has none of its own: take the context along with [`scope`](Self::scope).
    #[must_use]
    pub fn current() -> Option<Self> {
        let ids = TraceIds::current()?;
        Some(Self {
            parent: TraceParent::of_ids(ids)?,
            carried: carried_by(ids.span),
        })
    }

    /// Returns the trace, the span and the flags.
    #[must_use]
    pub const fn parent(&self) -> TraceParent {
        self.parent
    }

    /// Returns what other tracing systems have to say of the trace.
    #[must_use]
    pub fn state(&self) -> Option<&TraceState> {
        self.carried.as_ref()?.state.as_ref()
    }

    /// Returns what the caller sent along.
    #[must_use]
    pub fn baggage(&self) -> Option<&Baggage> {
        self.carried.as_ref()?.baggage.as_ref()
    }

    /// Runs a future in this context, for example one that is spawned; it is dropped in it as well.
    pub fn scope<F: Future>(self, future: F) -> WithContext<F> {
        WithContext {
            future: Some(Box::pin(future)),
            context: self,
        }
    }

    pub(crate) fn carrying(
        parent: TraceParent,
        state: Option<TraceState>,
        baggage: Option<Baggage>,
    ) -> Self {
        let carries = state.is_some() || baggage.is_some();
        let carried = carries.then(|| Arc::new(Carried { state, baggage }));
        Self { parent, carried }
    }

    pub(crate) fn with_baggage(self, baggage: Option<Baggage>) -> Self {
        let state = self.state().cloned();
        Self::carrying(self.parent, state, baggage)
    }

    pub(crate) fn into_parts(self) -> (TraceParent, Option<Arc<Carried>>) {
        (self.parent, self.carried)
    }

    pub(crate) fn of_parts(parent: TraceParent, carried: Option<Arc<Carried>>) -> Self {
        Self { parent, carried }
    }
}

/// Returns what the call with this span carries.
fn carried_by(span: [u8; 8]) -> Option<Arc<Carried>> {
    // A thread that ends has nothing to carry.
    let taken = CARRIED.try_with(Cell::take).ok().flatten();
    let carried = taken.as_ref().filter(|(of, _)| *of == span);
    let carried = carried.map(|(_, carried)| carried.clone());
    let _ = CARRIED.try_with(|cell| cell.set(taken));
    carried
}

/// Runs something while `carried` travels along with `span`.
pub(crate) fn carry<R>(span: [u8; 8], carried: &Arc<Carried>, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<([u8; 8], Arc<Carried>)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = CARRIED.try_with(|cell| cell.set(self.0.take()));
        }
    }
    let new = Some((span, carried.clone()));
    let _restore = Restore(CARRIED.try_with(|cell| cell.replace(new)).ok().flatten());
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
        TraceIds::enter(Some(ids), || match &self.carried {
            Some(carried) => carry(ids.span, carried, run),
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
