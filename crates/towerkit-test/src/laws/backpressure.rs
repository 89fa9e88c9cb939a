use std::{
    future::poll_fn,
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use super::{at_rest, served};
use crate::{Action, BackpressureSubject, Probe, ProbeError, TestClient};

/// T-12: while a guard applies backpressure, no service of the layer is ready, and the inner service is not polled. Once the guard
/// admits calls again, every service that waits is woken, also if others are dropped or not polled.
pub async fn backpressure_loses_no_wake_up<C, L>(make: impl Fn() -> BackpressureSubject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    every_service_that_waits_goes_on::<C, L>(make()).await;
    a_service_asks_again_when_it_was_woken::<C, L>(make()).await;
    the_inner_service_is_asked_afterwards::<C, L>(make()).await;
    readiness_is_taken_back::<C, L>(make()).await;
}

async fn every_service_that_waits_goes_on<C, L>(held_back: BackpressureSubject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let BackpressureSubject {
        subject,
        close,
        open,
    } = &held_back;
    let baseline = subject.resource_count();
    let probe = Probe::new();
    let counts = probe.counts();
    let first = subject.layer.layer(probe.clone());
    close();
    let mut waiting = vec![
        Waiter::<C, _>::new(first.clone()),
        Waiter::new(first.clone()),
        Waiter::new(subject.layer.layer(probe)),
        Waiter::new(first),
    ];
    waiting.iter_mut().for_each(Waiter::assert_not_ready);
    waiting[0].move_to_another_task();
    waiting[0].assert_not_ready();
    // A clone of a service that waits has a wait of its own.
    let mut clone = Waiter::new(waiting[1].service.clone());
    clone.assert_not_ready();
    waiting.push(clone);
    drop(waiting.remove(2));
    assert_eq!(counts.polls(), 0, "polls of the inner service meanwhile");
    open();
    // It was woken, and is dropped without another poll.
    drop(waiting.remove(1));
    go_on(&mut waiting).await;
    // The first is ready and never called.
    for waiter in &mut waiting[1..] {
        served::<C, _>(&mut waiter.service, Action::Succeed).await;
    }
    assert_eq!(counts.violations(), 0, "called without being ready");
    drop(waiting);
    assert_eq!(counts.reserved(), 0, "instances kept ready");
    at_rest(subject, &counts, baseline);

    close();
    let mut waiter = Waiter::<C, _>::new(subject.layer.layer(Probe::new()));
    waiter.assert_not_ready();
    drop(waiter);
    open();
    at_rest(subject, &counts, baseline);
}

async fn a_service_asks_again_when_it_was_woken<C, L>(held_back: BackpressureSubject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let BackpressureSubject {
        subject,
        close,
        open,
    } = &held_back;
    let mut waiting = [Waiter::<C, _>::new(subject.layer.layer(Probe::new()))];
    for _ in 0..3 {
        close();
        waiting[0].assert_not_ready();
        // It was woken, and the guard rejects again before the next poll.
        open();
    }
    go_on(&mut waiting).await;
    served::<C, _>(&mut waiting[0].service, Action::Succeed).await;
}

async fn the_inner_service_is_asked_afterwards<C, L>(held_back: BackpressureSubject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let probe = Probe::ready_after(Duration::from_secs(1));
    let counts = probe.counts();
    (held_back.close)();
    let mut waiting = [Waiter::<C, _>::new(held_back.subject.layer.layer(probe))];
    waiting[0].assert_not_ready();
    (held_back.open)();
    go_on(&mut waiting).await;
    served::<C, _>(&mut waiting[0].service, Action::Succeed).await;
    assert_eq!(counts.violations(), 0, "called without being ready");
}

async fn readiness_is_taken_back<C, L>(held_back: BackpressureSubject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    let probe = Probe::new();
    let counts = probe.counts();
    let mut waiting = [Waiter::<C, _>::new(held_back.subject.layer.layer(probe))];
    go_on(&mut waiting).await;
    (held_back.close)();
    waiting[0].assert_not_ready();
    (held_back.open)();
    go_on(&mut waiting).await;
    served::<C, _>(&mut waiting[0].service, Action::Succeed).await;
    assert_eq!(counts.violations(), 0, "called without being ready");
}

/// A service that a task of its own polls for readiness.
struct Waiter<C, S> {
    service: S,
    task: Arc<Task>,
    calls: PhantomData<C>,
}

impl<C: TestClient<S>, S: Service<C::Request, Error = ProbeError>> Waiter<C, S> {
    fn new(service: S) -> Self {
        Self {
            service,
            task: Arc::new(Task::new()),
            calls: PhantomData,
        }
    }

    fn poll(&mut self) -> Poll<()> {
        self.task.is_woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.task.clone());
        let mut cx = Context::from_waker(&waker);
        self.service.poll_ready(&mut cx).map(|readiness| {
            if let Err(error) = readiness {
                panic!("not ready: {error}");
            }
        })
    }

    fn assert_not_ready(&mut self) {
        let polled = self.poll();
        assert!(polled.is_pending(), "ready although a guard holds it back");
        assert!(!self.task.is_woken(), "woken although nothing changed");
    }

    /// Polls from another task, which is to be woken from now on.
    fn move_to_another_task(&mut self) {
        self.task = Arc::new(Task::new());
    }
}

/// Waits until all are ready; polls each only when it was woken.
async fn go_on<C, S>(waiting: &mut [Waiter<C, S>])
where
    S: Service<C::Request, Error = ProbeError>,
    C: TestClient<S>,
{
    const DAY: Duration = Duration::from_secs(86_400);
    let mut polls = vec![Some(0); waiting.len()];
    let all_ready = poll_fn(|cx| {
        for (waiter, polls) in waiting.iter_mut().zip(&mut polls) {
            waiter.task.tell(cx.waker());
            while let Some(so_far) = polls
                && waiter.task.is_woken()
            {
                *so_far += 1;
                assert!(
                    *so_far <= 3,
                    "readiness that waits was polled {so_far} times"
                );
                if waiter.poll().is_ready() {
                    *polls = None;
                }
            }
        }
        if polls.iter().all(Option::is_none) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let in_time = tokio::time::timeout(DAY, all_ready).await;
    assert!(in_time.is_ok(), "a wake-up was lost");
}

/// A task that knows if it was woken since its last poll, and wakes the task that drives it.
struct Task {
    is_woken: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Task {
    /// Makes a task that is to be polled once.
    fn new() -> Self {
        Self {
            is_woken: AtomicBool::new(true),
            driver: Mutex::new(None),
        }
    }

    fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::SeqCst)
    }

    fn tell(&self, driver: &Waker) {
        let mut known = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(driver.clone());
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = &*driver {
            driver.wake_by_ref();
        }
    }
}
