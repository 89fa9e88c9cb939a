//! Slow calls.

use std::time::Duration;

use tower::{Layer, ServiceExt, service_fn};
use towerkit_circuitbreaker::{
    CircuitBreakerLayer, CountAs, Key, KeyedCircuitBreakerLayer, OpenWhen, SlowCall, State,
    WhenFull,
};
use towerkit_core::{
    BoxError, Call, CallEnd, CarriesRejection, Clock, Guard, IntoPolicy, Outcome, Plain, Policy,
    Rejection, RejectionReason,
};
use towerkit_http::HttpExt;
use towerkit_test::{Action, Probe};

use super::setup::{OPEN_FOR, Setup, ended};

const SLOW_AFTER: Duration = Duration::from_secs(2);
const NANO: Duration = Duration::from_nanos(1);

fn layer() -> CircuitBreakerLayer {
    let open_when = OpenWhen::slow_rate(0.5, SLOW_AFTER, 10, 2).unwrap();
    CircuitBreakerLayer::new().open_when(open_when)
}

/// Makes a call that ends after so long.
fn take(setup: &Setup, time: Duration) {
    let call = setup.start(Action::Succeed);
    setup.hand.advance(time);
    ended(call).unwrap();
}

#[test]
fn calls_that_run_longer_than_they_may_open_the_breaker() {
    let setup = Setup::new(layer());
    take(&setup, SLOW_AFTER);
    take(&setup, SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    assert_eq!(setup.breaker.state(), State::Closed);
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// The same over a window of time, in which they are forgotten.
#[test]
fn slow_calls_leave_a_window_of_time() {
    let window = Duration::from_secs(60);
    let open_when = OpenWhen::slow_rate(0.5, SLOW_AFTER, window, 2).unwrap();
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when));
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    setup.hand.advance(window);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    take(&setup, SLOW_AFTER + NANO);
    take(&setup, SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A time-out outside of the breaker cancels slow calls: they still tell.
#[test]
fn a_call_that_is_cancelled_late_was_slow_and_one_that_is_cancelled_early_counts_for_nothing() {
    let setup = Setup::new(layer());
    let cancelled_after = |time| {
        let call = setup.start(Action::Pend(9));
        setup.hand.advance(time);
        drop(call);
    };
    for _ in 0..10 {
        cancelled_after(SLOW_AFTER);
    }
    assert_eq!(setup.breaker.snapshot().results, 0);
    cancelled_after(SLOW_AFTER + NANO);
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.results, snapshot.slow, snapshot.failures),
        (1, 1, 0)
    );
    cancelled_after(SLOW_AFTER + NANO);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A call that is cancelled after a good head is a success, and a slow one if it ran too long.
#[test]
fn a_call_that_is_cancelled_after_its_head_counts_for_it() {
    for (time, slow) in [(SLOW_AFTER, 0), (SLOW_AFTER + NANO, 1)] {
        let (clock, hand) = Clock::manual();
        let layer = layer().clock(clock);
        let breaker = layer.handle();
        let service = layer.http().layer(Probe::new());
        let response = ended(service.oneshot(http::Request::new(Action::Succeed))).unwrap();
        hand.advance(time);
        drop(response);
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.results, snapshot.slow), (1, slow));
    }
}

/// A cancelled call does not end a policy stack of failures, slow or not.
#[test]
fn a_slow_cancelled_call_leaves_a_row_of_failures_as_it_is() {
    let open_when = OpenWhen::any([
        OpenWhen::consecutive_failures(2).unwrap(),
        OpenWhen::slow_rate(1.0, SLOW_AFTER, 10, 10).unwrap(),
    ]);
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()));
    setup.fail(1);
    let call = setup.start(Action::Pend(9));
    setup.hand.advance(SLOW_AFTER + NANO);
    drop(call);
    assert_eq!(setup.breaker.snapshot().slow, 1);
    setup.fail(1);
    assert_eq!(setup.breaker.state(), State::Open);
}

/// A call that waited for a limiter further in never reached the callee, however long it took.
#[test]
fn a_rejection_further_in_was_not_slow() {
    let (clock, hand) = Clock::manual();
    let layer = layer().clock(clock);
    let breaker = layer.handle();
    let service = layer.layer(service_fn(move |_: ()| {
        hand.advance(2 * SLOW_AFTER);
        let rejected = Rejection::new(RejectionReason::RateLimited, "inner");
        async move { Err::<(), _>(BoxError::from(rejected)) }
    }));
    for _ in 0..10 {
        assert!(ended(service.clone().oneshot(())).is_err());
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.results), (State::Closed, 0));
}

#[test]
fn a_failed_call_is_slow_as_well_if_it_took_too_long() {
    let open_when = OpenWhen::any([
        OpenWhen::failure_rate(1.0, 10, 10).unwrap(),
        OpenWhen::slow_rate(1.0, SLOW_AFTER, 10, 10).unwrap(),
    ]);
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()));
    let call = setup.start(Action::Fail);
    setup.hand.advance(SLOW_AFTER + NANO);
    assert!(ended(call).is_err());
    let snapshot = setup.breaker.snapshot();
    assert_eq!(
        (snapshot.results, snapshot.failures, snapshot.slow),
        (1, 1, 1)
    );
}

#[test]
fn a_slow_probe_has_failed() {
    for cancelled in [false, true] {
        let setup = Setup::new(layer());
        take(&setup, SLOW_AFTER + NANO);
        take(&setup, SLOW_AFTER + NANO);
        setup.hand.advance(OPEN_FOR);
        let probe = setup.start(Action::Pend(1));
        setup.hand.advance(SLOW_AFTER + NANO);
        if cancelled {
            drop(probe);
        } else {
            ended(probe).unwrap();
        }
        assert_eq!(setup.rejected(), Some(OPEN_FOR));
    }
}

/// What a verdict ignores was not slow, unless it was cancelled.
#[test]
fn a_verdict_can_ignore_what_was_slow() {
    let setup = Setup::new(layer().count_as(|end| match end.outcome() {
        Outcome::Success => CountAs::Ignored,
        _ => CountAs::of(end),
    }));
    take(&setup, 2 * SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().results, 0);
}

/// A clock may step back.
#[test]
fn a_call_that_ends_before_it_started_was_not_slow() {
    let setup = Setup::new(layer());
    let call = setup.start(Action::Succeed);
    setup.hand.set(0);
    ended(call).unwrap();
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.results, snapshot.slow), (1, 0));
}

fn hanging() -> CircuitBreakerLayer {
    let slow = SlowCall::longer_than(SLOW_AFTER).while_in_flight();
    CircuitBreakerLayer::new().open_when(OpenWhen::slow_rate(0.5, slow, 10, 2).unwrap())
}

/// Makes a call that is rejected, and returns the wait that it is told. It is the call that finds out that others hang, not the readiness.
fn turned_away(setup: &Setup) -> Option<Duration> {
    let error = setup.call(Action::Succeed).unwrap_err();
    error.rejection().expect("a rejection").retry_after()
}

/// Calls that hang end by nobody's hand for a long time: the next call finds them, and an open breaker.
#[test]
fn calls_that_hang_open_the_breaker_while_they_hang() {
    let setup = Setup::new(hanging());
    let hang: Vec<_> = (0..5).map(|_| setup.start(Action::Pend(9))).collect();
    setup.hand.advance(SLOW_AFTER);
    assert_eq!(setup.breaker.snapshot().slow, 0);
    setup.hand.advance(SLOW_AFTER / 14 + NANO);
    assert_eq!(turned_away(&setup), Some(OPEN_FOR));
    assert_eq!(setup.breaker.state(), State::Open);
    drop(hang);
    setup.hand.advance(OPEN_FOR);
    setup.succeed(1);
    let snapshot = setup.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.slow), (State::Closed, 0));
}

/// However it ends, a call that hung was one slow call, and its success or failure counts for the other conditions.
#[test]
fn a_call_that_hung_counts_once() {
    for (act, failures) in [(Action::Succeed, 0), (Action::Fail, 1)] {
        let slow = SlowCall::longer_than(SLOW_AFTER).while_in_flight();
        let open_when = OpenWhen::any([
            OpenWhen::slow_rate(1.0, slow, 100, 100).unwrap(),
            OpenWhen::failure_rate(1.0, 100, 100).unwrap(),
        ]);
        let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when.unwrap()));
        let call = setup.start(act);
        for _ in 0..3 {
            setup.hand.advance(2 * SLOW_AFTER);
            setup.succeed(1);
        }
        let before = setup.breaker.snapshot();
        assert_eq!((before.slow, before.failures), (1, 0));
        drop(ended(call));
        let after = setup.breaker.snapshot();
        assert_eq!((after.slow, after.failures), (1, failures));
        let other = setup.start(Action::Pend(9));
        drop(other);
        assert_eq!(setup.breaker.snapshot().slow, 1);
    }
}

const WINDOW: Duration = Duration::from_secs(600);

/// So a stream of an hour does not keep a breaker half-open until its probe is overdue.
#[test]
fn a_probe_that_hangs_opens_the_breaker_again() {
    let setup = Setup::new(hanging());
    let _hang = [setup.start(Action::Pend(9)), setup.start(Action::Pend(9))];
    setup.hand.advance(2 * SLOW_AFTER);
    assert_eq!(turned_away(&setup), Some(OPEN_FOR));
    setup.hand.advance(OPEN_FOR);
    let _probe = setup.start(Action::Pend(9));
    assert_eq!(turned_away(&setup), None);
    setup.hand.advance(2 * SLOW_AFTER);
    assert_eq!(turned_away(&setup), Some(OPEN_FOR));
}

/// A call that began long after all the others is found though time jumped by far more than the threshold.
#[test]
fn a_rest_of_any_length_loses_no_call_that_hangs() {
    for rest in [1_u32, 15, 16, 17, 1_000, 40_000, 70_000] {
        let setup = Setup::new(hanging());
        let first = setup.start(Action::Pend(9));
        setup.hand.advance(rest * SLOW_AFTER / 14);
        let _second = setup.start(Action::Pend(9));
        let hung = u64::from(rest > 14);
        assert_eq!(setup.breaker.snapshot().slow, hung, "{rest}");
        setup.hand.advance(2 * SLOW_AFTER);
        assert_eq!(turned_away(&setup), Some(OPEN_FOR), "{rest}");
        drop(first);
    }
}

#[test]
fn many_threads_count_each_call_that_hangs_once() {
    let slow = SlowCall::longer_than(Duration::from_nanos(50)).while_in_flight();
    let open_when = OpenWhen::slow_rate(1.0, slow, WINDOW, u32::MAX).unwrap();
    let (clock, hand) = Clock::manual();
    let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
    let breaker = layer.handle();
    let policy = layer.into_policy().get().clone();
    let calls = 5_000;
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (policy, hand) = (&policy, &hand);
            scope.spawn(move || {
                let mut open = std::collections::VecDeque::new();
                for call in 0..calls {
                    let mut request = ();
                    let protocol = Plain::new("test");
                    let call_of = &mut Call::new(&mut request, &protocol);
                    open.push_back(policy.admit(call_of).unwrap());
                    hand.advance(Duration::from_nanos(call % 7));
                    if open.len() > 3 + thread * 5 {
                        policy.finish(open.pop_front().unwrap(), &CallEnd::new(Outcome::Success));
                    }
                }
                for held in open {
                    policy.finish(held, &CallEnd::new(Outcome::Success));
                }
            });
        }
    });
    assert_eq!(breaker.snapshot().results, 4 * calls);
}

/// At a client the body takes as long as its reader likes.
#[test]
fn a_call_may_be_measured_to_its_head() {
    for while_in_flight in [false, true] {
        for (to_head, slow_reads) in [(false, 2), (true, 0)] {
            let mut slow = SlowCall::longer_than(SLOW_AFTER);
            slow = if to_head { slow.to_head() } else { slow };
            slow = if while_in_flight {
                slow.while_in_flight()
            } else {
                slow
            };
            let (clock, hand) = Clock::manual();
            let open_when = OpenWhen::slow_rate(1.0, slow, 10, 10).unwrap();
            let layer = CircuitBreakerLayer::new().open_when(open_when).clock(clock);
            let breaker = layer.handle();
            let service = layer.http().layer(Probe::new());
            let ask =
                || ended(service.clone().oneshot(http::Request::new(Action::Succeed))).unwrap();
            let bodies = [ask(), ask()];
            hand.advance(2 * SLOW_AFTER);
            drop(bodies);
            let snapshot = breaker.snapshot();
            assert_eq!((snapshot.results, snapshot.slow), (2, slow_reads));

            let late = service.clone();
            let mut late = std::pin::pin!(late.oneshot(http::Request::new(Action::Pend(1))));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(late.as_mut().poll(&mut cx).is_pending());
            hand.advance(2 * SLOW_AFTER);
            drop(ended(late).unwrap());
            assert_eq!(breaker.snapshot().slow, slow_reads + 1, "a late head");
        }
    }
}

/// A service without heads, and a call that fails before it, are measured to the end.
#[test]
fn a_call_without_a_head_is_measured_to_its_end() {
    let slow = SlowCall::longer_than(SLOW_AFTER).to_head();
    let open_when = OpenWhen::slow_rate(1.0, slow, 10, 10).unwrap();
    let setup = Setup::new(CircuitBreakerLayer::new().open_when(open_when));
    take(&setup, SLOW_AFTER + NANO);
    let call = setup.start(Action::Fail);
    setup.hand.advance(SLOW_AFTER + NANO);
    assert!(ended(call).is_err());
    assert_eq!(setup.breaker.snapshot().slow, 2);
}

/// By key as well; and a key whose calls hang does not leave for another.
#[test]
fn a_key_whose_calls_hang_is_remembered() {
    let (clock, hand) = Clock::manual();
    let find = |call: &Call<'_, &'static str>| Some(Key::new(*call.request));
    let slow = SlowCall::longer_than(SLOW_AFTER).while_in_flight();
    let layer = KeyedCircuitBreakerLayer::new(1, find)
        .unwrap()
        .open_when(OpenWhen::slow_rate(1.0, slow, 10, 1).unwrap())
        .when_full(WhenFull::Unguarded)
        .clock(clock);
    let handle = layer.handle();
    let policy = layer.into_policy().get().clone();
    let protocol = Plain::new("test");
    let mut requests = ["stock", "price"];
    let [stock, price] = &mut requests;
    let hang = policy.admit(&mut Call::new(stock, &protocol)).unwrap();
    hand.advance(2 * SLOW_AFTER);
    for _ in 0..3 {
        let held = policy.admit(&mut Call::new(price, &protocol)).unwrap();
        policy.finish(held, &CallEnd::new(Outcome::Success));
    }
    assert!(policy.admit(&mut Call::new(stock, &protocol)).is_err());
    assert_eq!(
        handle.snapshot(Key::new("stock")).unwrap().state,
        State::Open
    );
    policy.finish(hang, &CallEnd::new(Outcome::Success));
}
