//! An observer that records every end, a guard that opens and closes, and a guard that makes calls wait.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Guard, Observer, Outcome, Policy, Rejection,
    RejectionReason,
};
use towerkit_test::Action;

/// The end of one call, as a [`Scribe`] saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) outcome: Outcome,
    pub(crate) rejected: Option<RejectionReason>,
    pub(crate) panicked: bool,
}

/// Writes down every end, and counts how deep it is entered.
#[derive(Debug, Default)]
pub(crate) struct Scribe {
    pub(crate) ends: Mutex<Vec<Seen>>,
    pub(crate) in_flight: AtomicI64,
    pub(crate) entered: AtomicI64,
    pub(crate) entries: AtomicI64,
}

impl Scribe {
    pub(crate) fn ends(&self) -> Vec<Seen> {
        self.ends.lock().unwrap().clone()
    }

    /// The only end so far.
    pub(crate) fn end(&self) -> Seen {
        let mut ends = self.ends();
        assert_eq!(ends.len(), 1, "finished exactly once: {ends:?}");
        assert_eq!(self.in_flight.load(Ordering::SeqCst), 0);
        assert_eq!(self.entered.load(Ordering::SeqCst), 0);
        ends.remove(0)
    }
}

struct Leave<'a>(&'a AtomicI64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Policy for Scribe {
    type CallState = ();
    const WRAPS_POLL: bool = true;

    fn wrap_poll<R>(&self, _state: &mut (), poll: impl FnOnce() -> R) -> R {
        self.entries.fetch_add(1, Ordering::SeqCst);
        self.entered.fetch_add(1, Ordering::SeqCst);
        let _leave = Leave(&self.entered);
        poll()
    }

    fn finish(&self, _state: (), end: &CallEnd) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.ends.lock().unwrap().push(Seen {
            outcome: end.outcome(),
            rejected: end.rejection_reason(),
            panicked: end.has_panicked(),
        });
    }
}

impl<Req> Observer<Req> for Scribe {
    fn start(&self, _call: &mut Call<'_, Req>) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }
}

/// Admits calls while it is open; has an early rejection while it is closed, if `rejects_early`.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) is_closed: AtomicBool,
    pub(crate) rejects_early: AtomicBool,
}

impl Gate {
    fn rejection(&self) -> Option<Rejection> {
        let is_closed = self.is_closed.load(Ordering::SeqCst);
        is_closed.then(|| Rejection::new(RejectionReason::Unavailable, "gate"))
    }
}

impl Policy for Gate {
    type CallState = ();
    const NEEDS_END: bool = false;

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Gate {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        self.rejection().map_or(Ok(()), Err)
    }

    fn early_rejection(&self) -> Option<Rejection> {
        self.rejects_early.load(Ordering::SeqCst).then_some(())?;
        self.rejection()
    }
}

/// Panics instead of deciding.
#[derive(Debug)]
pub(crate) struct Broken;

impl Policy for Broken {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Broken {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        panic!("the guard panics")
    }
}

/// The decision of a [`Queue`] on a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    AtOnce,
    AdmitAfter(u32),
    RejectAfter(u32),
    PanicAfter(u32),
}

/// Makes calls wait a number of polls.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) then: Then,
    pub(crate) waiting: Arc<AtomicI64>,
    pub(crate) held: AtomicI64,
}

impl Queue {
    pub(crate) fn new(then: Then) -> Self {
        Self {
            then,
            waiting: Arc::default(),
            held: AtomicI64::new(0),
        }
    }
}

impl Policy for Queue {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncGuard<Action> for Queue {
    type Wait = Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send>>;

    fn admit(&self, _call: &mut Call<'_, Action>) -> Result<Admission<(), Self::Wait>, Rejection> {
        let then = self.then;
        let polls = match then {
            Then::AtOnce => {
                self.held.fetch_add(1, Ordering::SeqCst);
                return Ok(Admission::Now(()));
            }
            Then::AdmitAfter(n) | Then::RejectAfter(n) | Then::PanicAfter(n) => n,
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let leave = LeaveQueue(self.waiting.clone());
        Ok(Admission::Later(Box::pin(async move {
            let _leave = leave;
            for _ in 0..polls {
                yield_once().await;
            }
            match then {
                Then::RejectAfter(_) => Err(Rejection::new(RejectionReason::Overloaded, "queue")),
                Then::PanicAfter(_) => panic!("the wait panics"),
                _ => Ok(()),
            }
        })))
    }

    fn on_admitted(&self, _state: &mut (), call: &mut Call<'_, Action>) {
        self.held.fetch_add(1, Ordering::SeqCst);
        if *call.request == Action::Fail {
            *call.request = Action::Succeed;
        }
    }
}

struct LeaveQueue(Arc<AtomicI64>);

impl Drop for LeaveQueue {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
