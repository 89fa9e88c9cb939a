//! T-12: guards that hold a policy stack back for a load balancer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tower::{
    Layer, Service, ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequestsDiscover},
};
use towerkit_core::{
    AsGuard, Backpressure, BoxError, Call, CallEnd, CarriesRejection, Guard, LayerExt, Observer,
    Outcome, Plain, Policy, PolicyLayer, Rejection, RejectionReason, WakerSet, async_guard, guard,
    observe, stack,
};
use towerkit_test::{Action, BackpressureSubject, Probe, Subject, Task, laws, run_paused};

use crate::support::{Gate, Queue, Scribe, Then};

/// Admits so many calls at a time, and holds a balancer back while it is full or closed.
#[derive(Debug)]
struct Slots {
    free: AtomicUsize,
    is_closed: AtomicBool,
    waiting: WakerSet,
}

impl Slots {
    fn new(free: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(free),
            is_closed: AtomicBool::new(false),
            waiting: WakerSet::new(),
        })
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
        self.waiting.wake_all();
    }

    fn is_full(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst) || self.free.load(Ordering::SeqCst) == 0
    }
}

impl Policy for Slots {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {
        self.free.fetch_add(1, Ordering::SeqCst);
        self.waiting.wake_all();
    }
}

impl<Req> Guard<Req> for Slots {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let rejection = || Rejection::new(RejectionReason::Overloaded, "slots");
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(rejection());
        }
        let taken = self
            .free
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| {
                free.checked_sub(1)
            });
        taken.map(drop).map_err(|_| rejection())
    }

    fn backpressure(&self) -> Option<Backpressure> {
        self.waiting.backpressure_while(|| self.is_full())
    }
}

fn held_back<L>(layer: L, slots: &Arc<Slots>) -> BackpressureSubject<L> {
    let (close, open, held) = (slots.clone(), slots.clone(), slots.clone());
    let held = move || -i64::try_from(held.free.load(Ordering::SeqCst)).unwrap();
    BackpressureSubject::new(
        Subject::new(layer).count_resources(held),
        move || close.close(),
        move || open.open(),
    )
}

macro_rules! keeps_the_law {
    ($(#[$attribute:meta])* $name:ident, |$slots:ident| $layer:expr) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            run_paused(async {
                let make = || {
                    let $slots = Slots::new(1);
                    held_back($layer, &$slots)
                };
                laws::backpressure_loses_no_wake_up::<towerkit_test::PlainClient, _>(make).await;
            });
        }
    };
}

fn open_gate() -> PolicyLayer<AsGuard<Arc<Gate>>, Plain> {
    guard(Gate::default())
}

keeps_the_law!(alone, |slots| guard(slots.clone()));
keeps_the_law!(leaked, |slots| guard(slots.clone()).leak());
keeps_the_law!(outermost_in_a_stack, |slots| {
    stack((
        guard(slots.clone()),
        observe(Scribe::default()),
        open_gate(),
    ))
    .plain("probe")
});
keeps_the_law!(innermost_in_a_stack, |slots| {
    stack((
        observe(Scribe::default()),
        open_gate(),
        Some(guard(slots.clone())),
    ))
    .plain("probe")
});
keeps_the_law!(beside_a_guard_that_may_wait, |slots| {
    let queue = async_guard(Queue::new(Then::AtOnce));
    stack((observe(Scribe::default()), queue, guard(slots.clone()))).plain("probe")
});
keeps_the_law!(around_other_layers, |slots| {
    tower::ServiceBuilder::new()
        .layer(guard(slots.clone()))
        .layer(observe(Scribe::default()).plain("probe"))
        .into_inner()
});
keeps_the_law!(inside_other_layers, |slots| {
    tower::ServiceBuilder::new()
        .layer(observe(Scribe::default()).plain("probe"))
        .layer(async_guard(Queue::new(Then::AtOnce)))
        .layer(tower::util::MapRequestLayer::new(|act: Action| act))
        .layer(guard(slots.clone()))
        .into_inner()
});

/// Two guards of one policy stack hold it back, the outer one first.
#[test]
fn a_stack_waits_for_each_of_its_guards() {
    let (outer, inner) = (Slots::new(1), Slots::new(1));
    outer.close();
    inner.close();
    let layer = stack((guard(outer.clone()), guard(inner.clone()))).plain("probe");
    let service = layer.layer(Probe::new());
    let mut ready = Task::new(async { service.oneshot(Action::Succeed).await.is_ok() });
    assert!(ready.poll().is_pending());
    inner.open();
    assert_eq!(ready.take_wakes(), 0);
    inner.close();
    outer.open();
    assert_eq!(ready.take_wakes(), 1);
    assert!(ready.poll().is_pending());
    inner.open();
    assert_eq!(ready.take_wakes(), 1);
    assert_eq!(ready.poll(), std::task::Poll::Ready(true));
}

/// A guard with an early rejection is ready at once, unless another guard of the stack applies backpressure.
#[test]
fn a_stack_with_backpressure_has_no_early_rejection() {
    let slots = Slots::new(1);
    let gate = Arc::new(Gate::default());
    for flag in [&gate.is_closed, &gate.rejects_early] {
        flag.store(true, Ordering::SeqCst);
    }
    slots.close();
    let layer = stack((guard(gate), guard(slots.clone()))).plain("probe");
    let service = layer.layer(Probe::new());
    let mut call = Task::new(async {
        let error = service.oneshot(Action::Succeed).await.unwrap_err();
        error.rejection().map(Rejection::reason)
    });
    assert!(call.poll().is_pending());
    slots.open();
    assert_eq!(
        call.poll(),
        std::task::Poll::Ready(Some(RejectionReason::Unavailable))
    );
}

/// Readiness reserves nothing: of two instances that are ready, the second to be called is rejected.
#[tokio::test]
async fn admission_stays_with_the_call() {
    let slots = Slots::new(1);
    let service = guard(slots.clone()).layer(Probe::new());
    let (mut one, mut two) = (service.clone(), service);
    ServiceExt::<Action>::ready(&mut one).await.unwrap();
    ServiceExt::<Action>::ready(&mut two).await.unwrap();
    let first = one.call(Action::Succeed);
    assert!(two.call(Action::Succeed).await.is_err());
    first.await.unwrap();
    assert_eq!(slots.free.load(Ordering::SeqCst), 1);
}

/// Counts the calls that reach one instance, and how many of them were rejected.
#[derive(Default)]
struct Tally {
    calls: AtomicUsize,
    failed: AtomicUsize,
}

impl Policy for Tally {
    type CallState = ();

    fn finish(&self, _state: (), end: &CallEnd) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if end.outcome() != Outcome::Success {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl<Req> Observer<Req> for Tally {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

fn instance(
    slots: &Arc<Slots>,
    tally: &Arc<Tally>,
) -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Send + Sync + 'static {
    let layer = stack((observe(tally.clone()), guard(slots.clone())));
    let service = tower::service_fn(|()| async { Ok::<_, BoxError>(()) });
    layer.plain("instance").layer(service)
}

/// tower's own balancer leaves an instance out while it is closed, and takes it back in.
#[tokio::test]
async fn a_balancer_skips_an_instance_with_backpressure() {
    let slots = [Slots::new(1), Slots::new(1)];
    let tallies = [Arc::new(Tally::default()), Arc::new(Tally::default())];
    let instances = [0, 1].map(|at| instance(&slots[at], &tallies[at]));
    let instances = ServiceList::new::<()>(instances);
    let loads = PendingRequestsDiscover::new(instances, CompleteOnResponse::default());
    let mut balance = Balance::new(loads);
    let calls = || [0, 1].map(|at| tallies[at].calls.load(Ordering::SeqCst));

    slots[0].close();
    for _ in 0..100 {
        balance.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(calls(), [0, 100]);

    slots[1].close();
    assert!(
        tokio::time::timeout(Duration::ZERO, balance.ready())
            .await
            .is_err()
    );
    slots[0].open();
    for _ in 0..100 {
        balance.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(calls(), [100, 100]);
    assert!(
        tallies
            .iter()
            .all(|tally| tally.failed.load(Ordering::SeqCst) == 0)
    );
}

/// A buffer in front of an instance keeps calls until it may go on.
#[tokio::test]
async fn a_buffer_waits_for_an_instance_with_backpressure() {
    let (slots, tally) = (Slots::new(1), Arc::new(Tally::default()));
    let buffer = Buffer::new(instance(&slots, &tally), 4);
    slots.close();
    let open = async {
        tokio::task::yield_now().await;
        assert_eq!(tally.calls.load(Ordering::SeqCst), 0);
        slots.open();
    };
    let call = || buffer.clone().oneshot(());
    let (one, two, ()) = tokio::join!(call(), call(), open);
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(tally.failed.load(Ordering::SeqCst), 0);
}

/// Eight threads take turns at one slot: each call frees it for all others, most of which find it taken again.
#[test]
fn no_thread_is_left_waiting() {
    const CALLS: usize = 500;
    let slots = Slots::new(1);
    let layer = guard(slots.clone());
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut service = layer.layer(tower::service_fn(|()| async {
                thread::yield_now();
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
    assert_eq!(slots.free.load(Ordering::SeqCst), 1);
}

#[test]
fn a_service_stays_send_and_sync() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    is_send_and_sync(&instance(&Slots::new(1), &Arc::default()));
}
