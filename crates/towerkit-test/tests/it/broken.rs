//! The laws of calls and readiness.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use pin_project::{pin_project, pinned_drop};
use tower_layer::Layer;
use tower_service::Service;
use towerkit_core::{CarriesRejection, Failer};
use towerkit_test::{Action, PlainClient, Probe, ProbeError, Subject, contract, laws};

use crate::passes;

/// What is wrong with the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Sound,
    CallsACloneThatIsNotReady,
    KeepsWhatADroppedCallHeld,
    KeepsWhatAPanickedCallHeld,
    SwallowsPanics,
    ForgetsAPanicOfTheFailer,
    ForgetsAPanicOfTheError,
    ReservesInPollReady,
    SpinsWhileItWaits,
    SpinsUntilItIsReady,
    WrapsErrors,
}

/// Counts calls in flight, with one fault.
#[derive(Clone)]
struct Faulty {
    fault: Fault,
    in_flight: Arc<AtomicI64>,
}

fn subject(fault: Fault) -> Subject<Faulty> {
    let in_flight = Arc::new(AtomicI64::new(0));
    let layer = Faulty {
        fault,
        in_flight: in_flight.clone(),
    };
    Subject::new(layer).count_resources(move || in_flight.load(Ordering::SeqCst))
}

impl Layer<Probe> for Faulty {
    type Service = FaultyService;

    fn layer(&self, inner: Probe) -> FaultyService {
        FaultyService {
            layer: self.clone(),
            inner,
        }
    }
}

#[derive(Clone)]
struct FaultyService {
    layer: Faulty,
    inner: Probe,
}

impl Service<Action> for FaultyService {
    type Response = Action;
    type Error = ProbeError;
    type Future = FaultyFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let polled = Service::<Action>::poll_ready(&mut self.inner, cx);
        match self.layer.fault {
            Fault::SpinsUntilItIsReady if polled.is_pending() => cx.waker().wake_by_ref(),
            Fault::ReservesInPollReady => self.layer.add(1),
            _ => {}
        }
        polled
    }

    fn call(&mut self, act: Action) -> FaultyFuture {
        if self.layer.fault != Fault::ReservesInPollReady {
            self.layer.add(1);
        }
        let state = CallState(self.layer.clone());
        let inner = if self.layer.fault == Fault::CallsACloneThatIsNotReady {
            self.inner.clone().call(act)
        } else {
            self.inner.call(act)
        };
        FaultyFuture {
            inner,
            state: Some(state),
        }
    }
}

impl Faulty {
    fn add(&self, calls: i64) {
        self.in_flight.fetch_add(calls, Ordering::SeqCst);
    }
}

struct CallState(Faulty);

impl Drop for CallState {
    fn drop(&mut self) {
        let is_kept = self.0.fault == Fault::KeepsWhatAPanickedCallHeld && std::thread::panicking();
        if !is_kept {
            self.0.add(-1);
        }
    }
}

#[pin_project(PinnedDrop)]
struct FaultyFuture {
    #[pin]
    inner: <Probe as Service<Action>>::Future,
    state: Option<CallState>,
}

impl Future for FaultyFuture {
    type Output = Result<Action, ProbeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let fault = me
            .state
            .as_ref()
            .map_or(Fault::Sound, |state| state.0.fault);
        let inner = me.inner;
        if fault == Fault::SwallowsPanics {
            let poll = AssertUnwindSafe(|| inner.poll(cx));
            return catch_unwind(poll).unwrap_or(Poll::Ready(Ok(Action::Succeed)));
        }
        let polled = inner.poll(cx);
        if polled.is_pending() && fault == Fault::SpinsWhileItWaits {
            cx.waker().wake_by_ref();
        }
        let result = ready!(polled);
        let state = me.state.take();
        if asks_and_forgets(fault, &result) {
            std::mem::forget(state);
            panic!("the answer panicked when it was asked");
        }
        drop(state);
        Poll::Ready(match result {
            Err(_) if fault == Fault::WrapsErrors => {
                let reason = towerkit_core::RejectionReason::Unavailable;
                Err(ProbeError::from_rejection(towerkit_core::Rejection::new(
                    reason, "faulty",
                )))
            }
            result => result,
        })
    }
}

#[pinned_drop]
impl PinnedDrop for FaultyFuture {
    fn drop(self: Pin<&mut Self>) {
        if let Some(state) = self.project().state.take()
            && state.0.fault == Fault::KeepsWhatADroppedCallHeld
        {
            std::mem::forget(state);
        }
    }
}

/// Asks the result as a classifier would, after it was taken out what has to be released.
fn asks_and_forgets(fault: Fault, result: &Result<Action, ProbeError>) -> bool {
    let ask = AssertUnwindSafe(|| match result {
        Ok(act) if fault == Fault::ForgetsAPanicOfTheFailer => drop(act.failed()),
        Err(error) if fault == Fault::ForgetsAPanicOfTheError => drop(error.rejection()),
        _ => {}
    });
    catch_unwind(ask).is_err()
}

contract!(sound, PlainClient, subject(Fault::Sound));

/// T-01
#[test]
fn a_layer_that_calls_an_unready_clone_is_rejected() {
    let fault = Fault::CallsACloneThatIsNotReady;
    assert!(!passes(
        || laws::calls_come_after_readiness::<PlainClient, _>(subject(fault))
    ));
}

/// Tries up to three times, with or without asking for readiness before the second and third.
#[derive(Clone)]
struct Repeating {
    asks: bool,
}

impl Layer<Probe> for Repeating {
    type Service = RepeatingService;

    fn layer(&self, inner: Probe) -> RepeatingService {
        RepeatingService {
            asks: self.asks,
            inner,
        }
    }
}

#[derive(Clone)]
struct RepeatingService {
    asks: bool,
    inner: Probe,
}

impl Service<Action> for RepeatingService {
    type Response = Action;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Result<Action, ProbeError>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Service::<Action>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, act: Action) -> Self::Future {
        let mut next = self.clone();
        let first = self.inner.call(act);
        Box::pin(async move {
            let mut result = first.await;
            for _ in 0..2 {
                if result.is_ok() {
                    break;
                }
                if next.asks {
                    poll_fn(|cx| next.poll_ready(cx)).await?;
                }
                result = next.inner.call(act).await;
            }
            result
        })
    }
}

/// T-02
#[test]
fn a_layer_that_tries_again_without_asking_is_rejected() {
    for asks in [true, false] {
        let subject = || Subject::new(Repeating { asks });
        let law = || laws::each_attempt_has_its_own_readiness::<PlainClient, _>(subject);
        assert_eq!(passes(law), asks);
    }
}

/// T-03
#[test]
fn a_layer_that_leaks_the_resources_of_a_dropped_call_is_found() {
    let fault = Fault::KeepsWhatADroppedCallHeld;
    assert!(!passes(|| laws::a_dropped_call_releases_all::<
        PlainClient,
        _,
    >(|| subject(fault))));
}

/// T-04
#[test]
fn a_layer_that_leaks_the_resources_of_a_panicked_call_is_found() {
    let fault = Fault::KeepsWhatAPanickedCallHeld;
    assert!(!passes(|| laws::a_panic_releases_all::<PlainClient, _>(
        || subject(fault)
    )));
}

/// T-04
#[test]
fn a_layer_that_forgets_that_an_answer_may_panic_is_rejected() {
    for fault in [
        Fault::ForgetsAPanicOfTheFailer,
        Fault::ForgetsAPanicOfTheError,
    ] {
        let law = || laws::a_panic_releases_all::<PlainClient, _>(|| subject(fault));
        assert!(!passes(law), "{fault:?}");
    }
}

/// T-04
#[test]
fn a_layer_that_swallows_a_panic_is_rejected() {
    let fault = Fault::SwallowsPanics;
    assert!(!passes(|| laws::a_panic_releases_all::<PlainClient, _>(
        || subject(fault)
    )));
}

/// T-05
#[test]
fn a_layer_that_reserves_in_poll_ready_is_rejected() {
    let fault = Fault::ReservesInPollReady;
    assert!(!passes(|| {
        laws::readiness_without_a_call_is_released::<PlainClient, _>(subject(fault))
    }));
}

/// T-06
#[test]
fn a_layer_that_spins_is_rejected() {
    for fault in [Fault::SpinsWhileItWaits, Fault::SpinsUntilItIsReady] {
        assert!(!passes(|| laws::waiting_does_not_spin::<PlainClient, _>(
            || subject(fault)
        )));
    }
}

/// T-07
#[test]
fn a_constructor_that_accepts_an_invalid_setting_or_panics_is_rejected() {
    let accepts = || laws::invalid_settings_are_rejected(&[("0", &|| false)]);
    let panics = || laws::invalid_settings_are_rejected(&[("0", &|| panic!("zero"))]);
    laws::invalid_settings_are_rejected(&[("0", &|| true)]);
    assert!(catch_unwind(accepts).is_err());
    assert!(catch_unwind(panics).is_err());
}

/// T-08
#[test]
fn a_layer_that_wraps_errors_is_rejected() {
    let fault = Fault::WrapsErrors;
    assert!(!passes(|| laws::errors_of_calls_pass_unchanged::<
        PlainClient,
        _,
    >(|| subject(fault))));
}

/// Asks for readiness in the call, and returns the error of it or, with the fault, one of its own.
#[derive(Clone)]
struct AlwaysReady {
    wraps_errors: bool,
}

impl Layer<Probe> for AlwaysReady {
    type Service = AlwaysReadyService;

    fn layer(&self, inner: Probe) -> AlwaysReadyService {
        AlwaysReadyService {
            wraps_errors: self.wraps_errors,
            inner,
        }
    }
}

#[derive(Clone)]
struct AlwaysReadyService {
    wraps_errors: bool,
    inner: Probe,
}

impl Service<Action> for AlwaysReadyService {
    type Response = Action;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Result<Action, ProbeError>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, act: Action) -> Self::Future {
        let (wraps_errors, mut inner) = (self.wraps_errors, self.inner.clone());
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(())) = Service::<Action>::poll_ready(&mut inner, &mut cx) {
            return Box::pin(inner.call(act));
        }
        Box::pin(async move {
            let ready = poll_fn(|cx| Service::<Action>::poll_ready(&mut inner, cx)).await;
            match ready {
                Err(_) if wraps_errors => {
                    let reason = towerkit_core::RejectionReason::Unavailable;
                    let rejection = towerkit_core::Rejection::new(reason, "faulty");
                    Err(ProbeError::from_rejection(rejection))
                }
                Err(error) => Err(error),
                Ok(()) => inner.call(act).await,
            }
        })
    }
}

contract!(
    sound_and_always_ready,
    PlainClient,
    always_ready,
    Subject::new(AlwaysReady {
        wraps_errors: false
    })
);

/// T-08
#[test]
fn a_layer_that_wraps_errors_of_readiness_is_rejected() {
    let always_ready = || Subject::new(AlwaysReady { wraps_errors: true });
    assert!(!passes(|| laws::errors_of_readiness_end_calls_unchanged::<
        PlainClient,
        _,
    >(always_ready)));
    // A service that is always ready has no error of readiness.
    assert!(!passes(|| laws::errors_of_readiness_pass_unchanged::<
        PlainClient,
        _,
    >(always_ready)));
}
