//! Backpressure, for use under a load balancer.

use std::{sync::Mutex, task::Poll, time::Duration};

use tower::{Layer, Service, ServiceExt};
use towerkit_circuitbreaker::{
    CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer, CircuitBreakerPolicy, State,
};
use towerkit_core::{
    Call, CallEnd, CarriesRejection, Clock, Guard, IntoPolicy, Outcome, Plain, Policy, Rejection,
    RejectionReason,
};
use towerkit_test::{
    Action, BackpressureSubject, PlainClient, Probe, Subject, Task, laws, run_paused, tokio_clock,
};

use super::setup::{OPEN_FOR, call, consecutive, ended};

const MS: Duration = Duration::from_millis(1);

fn layer() -> CircuitBreakerLayer {
    consecutive().backpressure().clock(tokio_clock())
}

/// T-12
#[test]
fn a_forced_breaker_loses_no_wake_up() {
    run_paused(laws::backpressure_loses_no_wake_up::<PlainClient, _>(
        || {
            let layer = layer();
            let (close, open) = (layer.handle(), layer.handle());
            BackpressureSubject::new(
                Subject::new(layer),
                move || close.force_open(),
                move || open.release(),
            )
        },
    ));
}

/// T-12, for probes.
#[test]
fn a_half_open_breaker_loses_no_wake_up() {
    run_paused(laws::backpressure_loses_no_wake_up::<PlainClient, _>(
        || {
            let (clock, clock_control) = Clock::manual();
            let layer = layer().probes(100).unwrap().clock(clock);
            let policy = policy_of(&layer);
            (0..2).for_each(|_| fail(&policy));
            clock_control.advance(OPEN_FOR);
            let taken = std::rc::Rc::new(Mutex::new(Vec::new()));
            let (close, open) = (policy.clone(), policy);
            let (take, give_back) = (taken.clone(), taken);
            BackpressureSubject::new(
                Subject::new(layer),
                move || {
                    take.lock()
                        .unwrap()
                        .extend(std::iter::from_fn(|| admit(&close)));
                },
                move || {
                    let taken = give_back.lock().unwrap().split_off(0);
                    taken
                        .into_iter()
                        .for_each(|call_state| open.finish(call_state, &CallEnd::cancelled()));
                },
            )
        },
    ));
}

fn policy_of(layer: &CircuitBreakerLayer) -> CircuitBreakerPolicy {
    layer.clone().into_policy().get().clone()
}

fn admit(policy: &CircuitBreakerPolicy) -> Option<<CircuitBreakerPolicy as Policy>::CallState> {
    policy
        .admit(&mut Call::new(&mut (), &Plain::new("test")))
        .ok()
}

fn fail(policy: &CircuitBreakerPolicy) {
    let call_state = admit(policy).unwrap();
    policy.finish(call_state, &CallEnd::new(Outcome::Failure));
}

/// A task that waits until a service is ready and returns the service.
fn waiting(service: &CircuitBreaker<Probe>) -> Task<CircuitBreaker<Probe>> {
    let mut service = service.clone();
    Task::new(async move {
        ServiceExt::<Action>::ready(&mut service).await.unwrap();
        service
    })
}

fn ready(task: &mut Task<CircuitBreaker<Probe>>) -> CircuitBreaker<Probe> {
    match task.poll() {
        Poll::Ready(service) => service,
        Poll::Pending => panic!("call_state back"),
    }
}

fn opened(layer: CircuitBreakerLayer) -> (CircuitBreaker<Probe>, CircuitBreakerHandle) {
    let handle = layer.handle();
    let mut service = layer.layer(Probe::new());
    for _ in 0..2 {
        call(&mut service, Action::Fail).unwrap_err();
    }
    assert_eq!(handle.state(), State::Open);
    (service, handle)
}

#[test]
fn an_open_breaker_is_ready_after_its_open_duration() {
    run_paused(async {
        let (service, handle) = opened(layer());
        let mut tasks = [waiting(&service), waiting(&service)];
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        tokio::time::sleep(OPEN_FOR - 2 * MS).await;
        assert!(tasks.iter().all(|task| task.take_wakes() == 0));
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        tokio::time::sleep(3 * MS).await;
        assert!(tasks.iter().all(|task| task.take_wakes() == 1));
        let [one, _other] = &mut tasks;
        ended(ready(one).call(Action::Succeed)).unwrap();
        assert_eq!(handle.state(), State::Closed);
    });
}

/// While the probes are in flight, other services wait until a probe has succeeded, failed or been cancelled.
#[test]
fn a_half_open_breaker_holds_back_calls_beyond_its_probes() {
    for ending in [Some(Action::Succeed), Some(Action::Fail), None] {
        run_paused(async {
            let (service, handle) = opened(layer());
            tokio::time::sleep(OPEN_FOR).await;
            let mut first = ready(&mut waiting(&service));
            let probe = first.call(ending.unwrap_or(Action::Pend(9)));
            let mut task = waiting(&service);
            assert!(task.poll().is_pending());
            match ending {
                Some(_) => drop(ended(probe)),
                None => drop(probe),
            }
            assert_eq!(task.take_wakes(), 1);
            if ending == Some(Action::Fail) {
                assert!(task.poll().is_pending());
                assert_eq!(handle.state(), State::Open);
            } else {
                ended(ready(&mut task).call(Action::Succeed)).unwrap();
                assert_eq!(handle.state(), State::Closed);
            }
        });
    }
}

/// A probe that hangs is replaced, so that waiting services do not wait for its end.
#[test]
fn a_probe_that_hangs_does_not_hold_back_calls_forever() {
    run_paused(async {
        let (service, _handle) = opened(layer());
        tokio::time::sleep(OPEN_FOR).await;
        let mut first = ready(&mut waiting(&service));
        let _hangs = first.call(Action::Pend(9));
        let mut task = waiting(&service);
        assert!(task.poll().is_pending());
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(task.take_wakes(), 1);
        ended(ready(&mut task).call(Action::Succeed)).unwrap();
    });
}

#[test]
fn updates_and_overrides_wake_waiting_services() {
    run_paused(async {
        let (service, handle) = opened(layer());
        for let_in in [
            CircuitBreakerHandle::disable,
            CircuitBreakerHandle::force_closed,
            CircuitBreakerHandle::observe,
        ] {
            handle.force_open();
            let mut task = waiting(&service);
            assert!(task.poll().is_pending());
            tokio::time::sleep(2 * OPEN_FOR).await;
            assert!(
                task.poll().is_pending(),
                "time opens nothing that was forced"
            );
            let_in(&handle);
            ready(&mut task);
        }
        handle.release();
    });

    run_paused(async {
        let (service, handle) = opened(layer());
        tokio::time::sleep(OPEN_FOR).await;
        let _probe = ready(&mut waiting(&service)).call(Action::Pend(9));
        let mut task = waiting(&service);
        assert!(task.poll().is_pending());
        handle.update(handle.options().probes(2).unwrap());
        assert_eq!(task.take_wakes(), 1);
        ready(&mut task);
    });
}

/// The timer is that of tokio, and the time is that of the clock: a clock that stands still causes no repeated polls, and a clock that
/// has advanced is read when the timer fires.
#[test]
fn the_clock_of_the_breaker_is_read_when_the_timer_fires() {
    run_paused(async {
        let (clock, clock_control) = Clock::manual();
        let (service, _handle) = opened(layer().clock(clock));
        let mut task = waiting(&service);
        assert!(task.poll().is_pending());
        let mut polls = 0;
        for _ in 0..1_000 {
            tokio::time::sleep(OPEN_FOR / 100).await;
            if task.take_wakes() > 0 {
                assert!(task.poll().is_pending());
                polls += 1;
            }
        }
        assert!((9..=10).contains(&polls), "{polls} polls in ten open times");
        clock_control.advance(OPEN_FOR);
        tokio::time::sleep(OPEN_FOR + 2 * MS).await;
        assert_eq!(task.take_wakes(), 1);
        ready(&mut task);
    });
}

/// Without the option an open breaker is ready, and rejects.
#[test]
fn without_the_option_an_open_breaker_is_ready() {
    run_paused(async {
        let (service, _handle) = opened(consecutive().clock(tokio_clock()));
        let rejected = ended(ready(&mut waiting(&service)).call(Action::Succeed)).unwrap_err();
        let reason = rejected.rejection().map(Rejection::reason);
        assert_eq!(reason, Some(RejectionReason::CircuitOpen));
    });
}
