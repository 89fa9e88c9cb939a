//! The laws, one function each. A function panics if the layer breaks its law.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{Action, CallCounts, Probe, ProbeError, Subject, TestClient};

mod backpressure;
mod body;

pub use backpressure::backpressure_loses_no_wake_up;
pub use body::bodies_pass_unchanged;

/// Longer than any layer waits by itself.
const MINUTE: Duration = Duration::from_secs(60);

/// T-01: `call` comes only after readiness of that instance, in sequence and through clones.
pub async fn calls_come_after_readiness<C, L>(subject: Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let probe = Probe::new();
    let counts = probe.counts();
    let baseline = subject.resource_count();
    let mut service = subject.layer.layer(probe);
    for _ in 0..3 {
        served::<C, _>(&mut service, Action::Succeed).await;
    }
    let mut clones = [service.clone(), service.clone(), service.clone()];
    let [one, two, three] = &mut clones;
    for clone in [&mut *one, &mut *two, &mut *three] {
        readied(clone).await;
    }
    // All three are in flight at once: none is polled before the last is called.
    let one = one.call(C::request(Action::Pend(2)));
    let two = two.call(C::request(Action::Pend(1)));
    let three = three.call(C::request(Action::Succeed));
    for result in [three.await, two.await, one.await] {
        match result {
            Ok(response) => C::read(response, usize::MAX).await,
            Err(error) => panic!("not served: {error}"),
        };
    }
    assert_eq!(counts.violations(), 0, "called without being ready");
    assert_eq!(counts.started(), 6, "calls that reached the service");
    at_rest(&subject, &counts, baseline);
}

/// T-02: each attempt of a layer that makes up to three is preceded by a readiness of its own.
///
/// For layers that call the inner service more than once; the first two attempts fail.
pub async fn each_attempt_has_its_own_readiness<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    for probe in [Probe::new(), Probe::ready_after(Duration::from_secs(1))] {
        let subject = make();
        let baseline = subject.resource_count();
        let counts = probe.counts();
        let mut service = subject.layer.layer(probe);
        served::<C, _>(&mut service, Action::FailFirst(2)).await;
        assert_eq!(counts.violations(), 0, "called without being ready");
        assert_eq!(counts.started(), 3, "attempts that reached the service");
        assert_eq!(counts.reserved(), 0, "instances kept ready");
        at_rest(&subject, &counts, baseline);
    }
}

/// T-03: a call that is dropped after any number of polls, and a body that is dropped after any number of frames, release all
/// resources.
pub async fn a_dropped_call_releases_all<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    const PENDS: u32 = 4;
    for polls in 0..=PENDS + 1 {
        let subject = make();
        let baseline = subject.resource_count();
        let probe = Probe::new();
        let counts = probe.counts();
        let mut service = subject.layer.layer(probe);
        readied(&mut service).await;
        drop_after(service.call(C::request(Action::Pend(PENDS))), polls);
        assert_eq!(counts.started(), 1, "calls that reached the service");
        at_rest(&subject, &counts, baseline);
    }
    body::half_read::<C, L>(&make).await;
}

/// T-04: a panic of the inner service propagates and releases all resources of the call, and the next call succeeds.
///
/// The same holds for a panic in code that the layer may call: [`Failer::failed`](towerkit_core::Failer::failed),
/// [`Error::source`](std::error::Error::source) and [`Body::is_end_stream`](http_body::Body::is_end_stream).
pub async fn a_panic_releases_all<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    for (act, is_asked) in [
        (Action::PanicInCall, true),
        (Action::PanicInFuture, true),
        (Action::PanicInBody, true),
        (Action::PanicInBodyEnd, false),
        (Action::PanicInFailer, false),
        (Action::PanicInError, false),
    ] {
        let subject = make();
        let baseline = subject.resource_count();
        let probe = Probe::new();
        let counts = probe.counts();
        let mut service = subject.layer.layer(probe);
        readied(&mut service).await;
        let call = AssertUnwindSafe(|| poll_to_the_end::<C, _>(&mut service, act));
        // A call that waits longer has not panicked either.
        let has_panicked = catch_unwind(call).is_err();
        assert!(has_panicked || !is_asked, "{act:?} was swallowed");
        at_rest(&subject, &counts, baseline);
        served::<C, _>(&mut service, Action::Succeed).await;
        at_rest(&subject, &counts, baseline);
    }
}

/// T-05: a service that is ready and dropped without a call releases all resources.
pub async fn readiness_without_a_call_is_released<C, L>(subject: Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let baseline = subject.resource_count();
    let probe = Probe::new();
    let counts = probe.counts();
    let mut service = subject.layer.layer(probe);
    for _ in 0..3 {
        readied(&mut service).await;
    }
    drop(service);
    assert_eq!(counts.reserved(), 0, "instances kept ready");
    at_rest(&subject, &counts, baseline);
}

/// T-06: a call that waits for a minute, and one of a service that is ready after a minute, are woken at most twice.
pub async fn waiting_does_not_spin<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    calls_that_wait_do_not_spin::<C, L>(&make).await;
    let mut service = make().layer.layer(Probe::ready_after(MINUTE));
    let polls = counted(served::<C, _>(&mut service, Action::Succeed)).await;
    assert!(polls <= 3, "readiness that waits was polled {polls} times");
}

/// T-06: a call that waits for a minute is woken at most twice, for a layer that may wait once itself.
pub async fn calls_that_wait_do_not_spin<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let mut service = make().layer.layer(Probe::new());
    readied(&mut service).await;
    let polls = counted(service.call(C::request(Action::Sleep(MINUTE)))).await;
    assert!(polls <= 3, "a call that waits was polled {polls} times");
}

/// T-07: each of these constructors returns an error for an invalid setting, and does not panic.
pub fn invalid_settings_are_rejected(constructors: &[(&str, &dyn Fn() -> bool)]) {
    for (name, is_rejected) in constructors {
        match catch_unwind(AssertUnwindSafe(is_rejected)) {
            Ok(true) => {}
            Ok(false) => panic!("{name} was accepted"),
            Err(_) => panic!("{name} caused a panic"),
        }
    }
}

/// T-08: an error that can be neither cloned nor compared passes through unchanged, from a call and from readiness.
pub async fn errors_pass_unchanged<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    errors_of_calls_pass_unchanged::<C, L>(&make).await;
    errors_of_readiness_pass_unchanged::<C, L>(&make).await;
}

/// T-08: an error that can be neither cloned nor compared passes through unchanged from a call.
pub async fn errors_of_calls_pass_unchanged<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let mut service = make().layer.layer(Probe::new());
    readied(&mut service).await;
    let Err(error) = service.call(C::request(Action::Fail)).await else {
        panic!("the error of a call was swallowed");
    };
    assert!(error.is_failed(), "the error of a call became {error}");
}

/// T-08: such an error passes through unchanged from readiness.
pub async fn errors_of_readiness_pass_unchanged<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let mut service = make().layer.layer(Probe::never_ready());
    let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await else {
        panic!("the error of readiness was swallowed");
    };
    assert!(error.is_unready(), "the error of readiness became {error}");
}

/// T-08, for a driver whose services are always ready: such an error of readiness is the result of the call.
pub async fn errors_of_readiness_end_calls_unchanged<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let mut service = make().layer.layer(Probe::never_ready());
    readied(&mut service).await;
    let Err(error) = service.call(C::request(Action::Succeed)).await else {
        panic!("the error of readiness was swallowed");
    };
    assert!(error.is_unready(), "the error of readiness became {error}");
}

async fn readied<S, Req>(service: &mut S)
where
    S: Service<Req, Error = ProbeError>,
{
    if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
        panic!("not ready: {error}");
    }
}

async fn served<C, S>(service: &mut S, act: Action)
where
    S: Service<C::Request, Error = ProbeError>,
    C: TestClient<S>,
{
    readied(service).await;
    match service.call(C::request(act)).await {
        Ok(response) => C::read(response, usize::MAX).await,
        Err(error) => panic!("not served: {error}"),
    };
}

/// Calls and polls without a runtime, so that a panic can be caught around all of it.
fn poll_to_the_end<C, S>(service: &mut S, act: Action)
where
    S: Service<C::Request, Error = ProbeError>,
    C: TestClient<S>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = pin!(async {
        if let Ok(response) = service.call(C::request(act)).await {
            C::read(response, usize::MAX).await;
        }
    });
    let _ = (0..100).any(|_| call.as_mut().poll(&mut cx).is_ready());
}

/// Polls a future that many times and drops it, and its output unread.
fn drop_after<F: Future>(future: F, polls: u32) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut cx).is_ready() {
            return;
        }
    }
}

async fn counted<F: Future>(future: F) -> u32 {
    let mut polls = 0;
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls += 1;
        // A layer that spins would spin for ever under paused time.
        if polls > 100 {
            return Poll::Ready(());
        }
        future.as_mut().poll(cx).map(drop)
    })
    .await;
    polls
}

fn at_rest<L>(subject: &Subject<L>, counts: &CallCounts, baseline: i64) {
    assert_eq!(
        subject.resource_count(),
        baseline,
        "held by the layer at rest"
    );
    assert_eq!(counts.in_flight(), 0, "calls in flight at rest");
    let ended = counts.finished() + counts.dropped();
    assert_eq!(counts.started(), ended, "calls started and ended");
}
