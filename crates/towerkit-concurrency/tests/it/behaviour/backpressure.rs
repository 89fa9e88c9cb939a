//! A limit with backpressure, under a load balancer.

use std::{cell::RefCell, rc::Rc, task::Poll, thread, time::Duration};

use tower::{Layer, Service, ServiceExt};
use towerkit_concurrency::{
    Adaptive, Aimd, ConcurrencyLimit, ConcurrencyLimitLayer, LimitAlgorithm, Priority,
    PriorityClass, PriorityClasses, Queue, Window,
};
use towerkit_core::{
    BoxError, Call, CallEnd, CarriesRejection, Clock, Guard, IntoPolicy, Outcome, Plain, Policy,
    PolicyAs, Rejection, RejectionReason,
};
use towerkit_test::{
    Action, BackpressureSubject, PlainClient, Probe, Subject, Task, laws, run_paused,
};

use crate::guards::Limit;

fn layer(limit: u32) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(limit).unwrap().backpressure()
}

/// Closes the layer by calls that hold all permits.
fn held_back<R, G>(
    layer: ConcurrencyLimitLayer<Plain, PolicyAs<G, R>>,
) -> BackpressureSubject<ConcurrencyLimitLayer<Plain, PolicyAs<G, R>>>
where
    G: Guard<Action> + Clone + 'static,
    ConcurrencyLimitLayer<Plain, PolicyAs<G, R>>: IntoPolicy<Policy = PolicyAs<G, R>> + Clone,
{
    let handle_of_law = layer.clone();
    let guard = layer.clone().into_policy().get().clone();
    let taken = Rc::new(RefCell::new(Vec::new()));
    let (close, take, give_back) = (guard.clone(), taken.clone(), taken);
    let admit = move || {
        let protocol = Plain::new("test");
        close
            .admit(&mut Call::new(&mut Action::Succeed, &protocol))
            .ok()
    };
    BackpressureSubject::new(
        Subject::new(handle_of_law),
        move || take.borrow_mut().extend(std::iter::from_fn(&admit)),
        move || {
            let taken = give_back.borrow_mut().split_off(0);
            taken
                .into_iter()
                .for_each(|permit| guard.finish(permit, &CallEnd::cancelled()));
        },
    )
}

/// T-12
#[test]
fn a_fixed_limit_loses_no_wake_up() {
    run_paused(laws::backpressure_loses_no_wake_up::<PlainClient, _>(
        || held_back(layer(3)),
    ));
}

/// T-12
#[test]
fn an_adaptive_limit_loses_no_wake_up() {
    run_paused(laws::backpressure_loses_no_wake_up::<PlainClient, _>(
        || held_back(ConcurrencyLimitLayer::adaptive(Adaptive::new(Aimd::new())).backpressure()),
    ));
}

/// T-12
#[test]
fn a_limit_with_classes_loses_no_wake_up() {
    run_paused(laws::backpressure_loses_no_wake_up::<PlainClient, _>(
        || {
            let critical = |_: &Call<'_, Action>| PriorityClass::new(Priority::Critical);
            held_back(layer(3).classes(PriorityClasses::new(), critical))
        },
    ));
}

type Limited = ConcurrencyLimit<Probe>;

/// A task that waits until a service is ready, and returns it.
fn waiting(service: &Limited) -> Task<Limited> {
    let mut service = service.clone();
    Task::new(async move {
        ServiceExt::<Action>::ready(&mut service).await.unwrap();
        service
    })
}

fn ready(task: &mut Task<Limited>) -> Limited {
    match task.poll() {
        Poll::Ready(service) => service,
        Poll::Pending => panic!("held back"),
    }
}

#[test]
fn a_full_limit_becomes_ready_when_a_permit_is_released() {
    run_paused(async {
        let service = layer(1).layer(Probe::new());
        let call = ready(&mut waiting(&service)).call(Action::Pend(9));
        let mut tasks = [waiting(&service), waiting(&service)];
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        drop(call);
        assert!(
            tasks.iter().all(|task| task.take_wakes() == 1),
            "all waiting services are woken"
        );
        let [gone, other] = tasks;
        drop(gone);
        let mut other = other;
        ready(&mut other).call(Action::Succeed).await.unwrap();
    });
}

#[test]
fn setting_a_higher_limit_wakes_a_waiting_service() {
    run_paused(async {
        let layer = layer(1);
        let handle = layer.handle();
        let service = layer.layer(Probe::new());
        let _call = ready(&mut waiting(&service)).call(Action::Pend(9));
        let mut task = waiting(&service);
        assert!(task.poll().is_pending());
        handle.set_limit(2).unwrap();
        assert_eq!(task.take_wakes(), 1);
        ready(&mut task);
    });
}

#[derive(Clone)]
struct Twice;

impl LimitAlgorithm for Twice {
    fn update(&mut self, window: &Window) -> f64 {
        window.limit * 2.0
    }
}

#[test]
fn an_adaptive_increase_wakes_a_waiting_service() {
    let (clock, clock_control) = Clock::manual();
    let adaptive = Adaptive::new(Twice)
        .try_limits(10, 100)
        .unwrap()
        .initial(10);
    let layer = ConcurrencyLimitLayer::adaptive(adaptive)
        .clock(clock)
        .backpressure();
    let service = layer.layer(Probe::new());
    let limit = Limit::of(layer);
    let admit = || Guard::admit(&limit, &mut Call::new(&mut (), &Plain::new("test"))).unwrap();
    let mut permits: Vec<_> = (0..10).map(|_| admit()).collect();
    let mut task = waiting(&service);
    assert!(task.poll().is_pending());
    for _ in 0..12 {
        clock_control.advance(Duration::from_millis(20));
        limit.finish(permits.remove(0), &CallEnd::new(Outcome::Success));
        permits.push(admit());
    }
    assert!(limit.limit() > 10 && task.take_wakes() > 0);
    ready(&mut task);
}

/// Calls wait in the queue instead of in `poll_ready`.
#[test]
fn a_queue_disables_backpressure() {
    run_paused(async {
        let queue = Queue::new(1, Duration::from_secs(1)).unwrap();
        let service = layer(1).queue(queue).layer(Probe::new());
        let mut first = service.clone();
        let call = ServiceExt::<Action>::ready(&mut first).await.unwrap();
        let call = call.call(Action::Sleep(Duration::from_millis(5)));
        let mut second = service.clone();
        let mut task = Task::new(async move {
            ServiceExt::<Action>::ready(&mut second).await.unwrap();
        });
        assert!(task.poll().is_ready());
        call.await.unwrap();
    });
}

#[test]
fn without_backpressure_a_full_limit_is_ready() {
    run_paused(async {
        let service = ConcurrencyLimitLayer::new(1).unwrap().layer(Probe::new());
        let _call = ready(&mut waiting(&service)).call(Action::Pend(9));
        let rejected = ready(&mut waiting(&service)).call(Action::Succeed).await;
        let rejected = rejected.unwrap_err();
        let reason = rejected.rejection().map(Rejection::reason);
        assert_eq!(reason, Some(RejectionReason::Overloaded));
    });
}

/// Eight threads compete for two permits: each release wakes all others, and most of them find the permit taken again.
#[test]
fn no_thread_waits_for_ever() {
    const CALLS: usize = 300;
    let layer = layer(2);
    let handle = layer.handle();
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut service = layer.layer(tower::service_fn(|()| async {
                tokio::task::yield_now().await;
                Ok::<_, BoxError>(())
            }));
            scope.spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_time().build().unwrap();
                runtime.block_on(async {
                    let mut served = 0;
                    while served < CALLS {
                        let ready = tokio::time::timeout(Duration::from_secs(60), service.ready());
                        let ready = ready.await.expect("woken").unwrap();
                        served += usize::from(ready.call(()).await.is_ok());
                    }
                });
            });
        }
    });
    assert_eq!(handle.snapshot().in_flight, 0);
}
