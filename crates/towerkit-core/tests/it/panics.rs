//! T-04: user code that panics anywhere between the start of a call and its end finishes every policy once.

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use tower::{Layer, Service};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, CarriesRejection, DescribeRequest, Failer, Guard,
    LayerExt, Outcome, Plain, Policy, Protocol, ProtocolKind, Rejection, RejectionReason, Status,
    async_guard, guard, observe, stack,
};
use towerkit_test::{Action, Probe, Task};

use crate::support::{Scribe, Seen};

const PANICKED: Seen = Seen {
    outcome: Outcome::Failure,
    rejected: None,
    panicked: true,
};

/// Counts the permits that it has given, and panics on request.
#[derive(Debug, Default)]
struct Permit {
    held: AtomicI64,
    panics_in_finish: bool,
    panics_in_on_admitted: bool,
    rejects: bool,
}

impl Policy for Permit {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.panics_in_finish, "finish panics");
    }
}

impl<Req> Guard<Req> for Permit {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        if self.rejects {
            return Err(Rejection::new(RejectionReason::Overloaded, "permit"));
        }
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// The same, after a wait.
struct Later(Permit);

impl Policy for Later {
    type CallState = ();

    fn finish(&self, state: (), end: &CallEnd) {
        self.0.finish(state, end);
    }
}

impl<Req> AsyncGuard<Req> for Later {
    type Wait = Ready<Result<(), Rejection>>;

    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admission<(), Self::Wait>, Rejection> {
        Ok(Admission::Later(ready(Guard::admit(&self.0, call))))
    }

    fn on_admitted(&self, _state: &mut (), _call: &mut Call<'_, Req>) {
        assert!(!self.0.panics_in_on_admitted, "on_admitted panics");
    }
}

/// Calls once, and polls to the end. The panic has to come out.
fn panics<S, Req>(mut service: S, request: Req)
where
    S: Service<Req, Future: 'static> + 'static,
    Req: 'static,
{
    let call = AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        let mut call = Task::new(service.call(request));
        while call.poll().is_pending() {}
    });
    assert!(catch_unwind(call).is_err(), "nothing panicked");
}

/// Runs a call that panics inside of an observer and a guard, and checks that both are finished once.
macro_rules! both_are_finished {
    ($protocol:expr, $service:expr, $request:expr) => {{
        let (scribe, permit) = (Arc::<Scribe>::default(), Arc::<Permit>::default());
        let layer = stack((observe(scribe.clone()), guard(permit.clone())));
        panics(layer.protocol($protocol).layer($service), $request);
        assert_eq!(scribe.end(), PANICKED);
        assert_eq!(permit.held.load(Ordering::SeqCst), 0);
    }};
}

struct Reply;

impl Failer for Reply {
    fn failed(&self) -> Option<&(dyn Error + 'static)> {
        panic!("the failer panics")
    }
}

#[test]
fn a_classifier_that_panics_is_a_panic_of_the_call() {
    let reply = || tower::service_fn(|()| ready(Ok::<_, Rejection>(Reply)));
    both_are_finished!(Plain::new("probe").by_failer(), reply(), ());
    let classify = |_: &Result<Reply, Rejection>| panic!("the classifier panics");
    both_are_finished!(Plain::new("probe").classify(classify), reply(), ());
}

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl Error for Broken {}

impl CarriesRejection for Broken {
    fn from_rejection(_rejection: Rejection) -> Self {
        Self
    }

    fn rejection(&self) -> Option<&Rejection> {
        panic!("the error panics")
    }
}

#[test]
fn an_error_that_panics_when_it_is_asked_is_a_panic_of_the_call() {
    let service = tower::service_fn(|()| ready(Err::<(), _>(Broken)));
    both_are_finished!(Plain::new("probe"), service, ());
}

/// A future that panics when it is dropped after its end.
struct PanicsInDrop(bool);

impl Future for PanicsInDrop {
    type Output = Result<(), Rejection>;

    fn poll(self: std::pin::Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("the future panics in its drop")
    }
}

#[test]
fn a_future_that_panics_in_its_drop_is_a_panic_of_the_call() {
    let service = tower::service_fn(|()| PanicsInDrop(true));
    both_are_finished!(Plain::new("probe"), service, ());

    let permit = Arc::<Permit>::default();
    let mut service = guard(permit.clone()).layer(tower::service_fn(|()| PanicsInDrop(false)));
    let call = service.call(());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_err());
    assert_eq!(permit.held.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_in_on_admitted_finishes_the_admitted_call() {
    let scribe = Arc::<Scribe>::default();
    let later = Arc::new(Later(Permit {
        panics_in_on_admitted: true,
        ..Permit::default()
    }));
    let layer = stack((observe(scribe.clone()), async_guard(later.clone()))).plain("probe");
    panics(layer.layer(Probe::new()), Action::Succeed);
    assert_eq!(scribe.end(), PANICKED);
    assert_eq!(later.0.held.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_in_finish_still_finishes_the_outer_policies() {
    let broken = || Permit {
        panics_in_finish: true,
        ..Permit::default()
    };
    let scribe = Arc::<Scribe>::default();
    let layer = stack((observe(scribe.clone()), guard(broken()))).plain("probe");
    panics(layer.layer(Probe::new()), Action::Succeed);
    assert_eq!(scribe.end(), PANICKED);

    // Rejected further in, and with a policy in between that may wait.
    let scribe = Arc::<Scribe>::default();
    let rejects = Permit {
        rejects: true,
        ..Permit::default()
    };
    let layer = stack((
        observe(scribe.clone()),
        async_guard(Later(broken())),
        guard(rejects),
    ));
    panics(layer.plain("probe").layer(Probe::new()), Action::Succeed);
    assert_eq!(scribe.end(), PANICKED);
}

/// A protocol that panics when it is asked for the status of a rejection.
#[derive(Clone)]
struct PanicsOnRejection;

impl<Req> DescribeRequest<Req> for PanicsOnRejection {
    fn operation<'a>(&'a self, _request: &'a Req, _kind: ProtocolKind) -> &'a str {
        "probe"
    }

    fn rejection_status(&self, _kind: ProtocolKind, _reason: RejectionReason) -> Option<Status> {
        panic!("the protocol panics")
    }
}

impl<Req> Protocol<Req> for PanicsOnRejection {
    type Exchange = towerkit_core::PlainExchange<towerkit_core::ByResult>;

    fn open(&self, request: &Req, kind: ProtocolKind) -> Self::Exchange {
        Plain::new("probe").open(request, kind)
    }
}

#[test]
fn a_protocol_that_panics_on_a_rejection_finishes_the_outer_policies() {
    macro_rules! is_finished {
        ($($guard:expr),+) => {{
            let scribe = Arc::<Scribe>::default();
            let layer = stack((observe(scribe.clone()), $($guard),+)).protocol(PanicsOnRejection);
            panics(layer.layer(Probe::new()), Action::Succeed);
            assert_eq!(scribe.end(), PANICKED);
        }};
    }
    let rejects = || Permit {
        rejects: true,
        ..Permit::default()
    };
    is_finished!(guard(rejects()));
    is_finished!(async_guard(Later(Permit::default())), guard(rejects()));
    is_finished!(async_guard(Later(rejects())));
}
