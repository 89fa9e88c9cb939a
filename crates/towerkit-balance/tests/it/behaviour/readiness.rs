//! Services of instances that are not ready, or fail to get ready.

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service, ServiceExt};
use towerkit_balance::{BuildTable, Candidates, P2c, Picker, RoundRobin};
use towerkit_circuitbreaker::CircuitBreakerLayer;
use towerkit_core::{BoxError, Call, Deadline, Rejection, RejectionReason};
use towerkit_discovery::{Discovery, Endpoints, Instance, InstanceService};
use towerkit_test::tokio_clock;

use super::setup::{MS, SECOND, call, instances, layer, number, succeeding};

/// When a service is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    AtOnce,
    /// So long after its first poll.
    After(Duration),
    Never,
    Fails,
}

#[derive(Debug)]
struct Connecting {
    number: u16,
    readiness: Readiness,
    polls: Arc<AtomicUsize>,
    is_ready: bool,
    sleep: Option<std::pin::Pin<Box<Sleep>>>,
}

impl Clone for Connecting {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            readiness: self.readiness,
            polls: self.polls.clone(),
            is_ready: false,
            sleep: None,
        }
    }
}

impl Service<u64> for Connecting {
    type Response = u16;
    type Error = BoxError;
    type Future = Ready<Result<u16, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls.fetch_add(1, SeqCst);
        match self.readiness {
            Readiness::AtOnce => {}
            Readiness::Never => return Poll::Pending,
            Readiness::Fails => return Poll::Ready(Err("no connection".into())),
            Readiness::After(time) => {
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(time)));
                std::task::ready!(sleep.as_mut().poll(cx));
            }
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: u64) -> Self::Future {
        assert!(
            std::mem::take(&mut self.is_ready),
            "called without being ready"
        );
        ready(Ok(self.number))
    }
}

fn connecting(
    discovery: &Discovery,
    readiness: impl Fn(u16, u32) -> Readiness + Send + Sync + 'static,
) -> (Endpoints<Connecting>, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let (counted, made) = (polls.clone(), AtomicU32::new(0));
    let endpoints = discovery.endpoints(move |instance| {
        let number = number(instance);
        let readiness = readiness(number, made.fetch_add(1, SeqCst));
        InstanceService::new(Connecting {
            number,
            readiness,
            polls: counted.clone(),
            is_ready: false,
            sleep: None,
        })
    });
    (endpoints, polls)
}

/// A call goes to an instance that is ready, if there is one.
#[tokio::test(start_paused = true)]
async fn instances_that_are_not_ready_are_passed_over() {
    let (endpoints, _) = connecting(&Discovery::fixed(instances(10)), |number, _| match number {
        7 => Readiness::AtOnce,
        _ => Readiness::Never,
    });
    let service = layer(P2c::new()).layer(endpoints);
    for request in 0..50 {
        assert_eq!(call(&service, request).await, 7);
    }
}

/// LB-02, tower 824: a pending instance is not driven without calls, and the first call after it became ready may go there.
#[tokio::test(start_paused = true)]
async fn an_instance_that_got_ready_gets_the_next_call() {
    let is_ready = Arc::new(Mutex::new(Readiness::Never));
    let state = is_ready.clone();
    let endpoints = Discovery::fixed(instances(2)).endpoints(move |instance| {
        let (number, state) = (number(instance), state.clone());
        InstanceService::new(Gate { number, state })
    });
    let service = layer(RoundRobin::starting_at(1)).layer(endpoints);
    assert_eq!(call(&service, 0).await, 0);
    *is_ready.lock().unwrap() = Readiness::AtOnce;
    assert_eq!(call(&service, 0).await, 1);
}

/// The second instance is ready as the state says.
#[derive(Clone)]
struct Gate {
    number: u16,
    state: Arc<Mutex<Readiness>>,
}

impl Service<u64> for Gate {
    type Response = u16;
    type Error = BoxError;
    type Future = Ready<Result<u16, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match *self.state.lock().unwrap() {
            Readiness::Never if self.number == 1 => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _request: u64) -> Self::Future {
        ready(Ok(self.number))
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_first_instance_that_gets_ready() {
    let (endpoints, polls) = connecting(&Discovery::fixed(instances(3)), |number, _| {
        Readiness::After((3 - u32::from(number)) * SECOND)
    });
    let service = layer(P2c::new()).layer(endpoints);
    let start = Instant::now();
    assert_eq!(call(&service, 1).await, 2);
    assert_eq!(start.elapsed(), SECOND);
    // Three choices, all three once more, and then twice with a waker.
    assert!(polls.load(SeqCst) <= 15, "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_wait_for_readiness() {
    let (endpoints, _) = connecting(&Discovery::fixed(instances(2)), |_, _| Readiness::Never);
    let service = layer(P2c::new()).layer(endpoints);
    let deadline = Deadline::after(&tokio_clock(), SECOND);
    let mut call = Box::pin(Deadline::enter(Some(&deadline), || service.oneshot(1)));
    let error =
        std::future::poll_fn(|cx| Deadline::enter(Some(&deadline), || call.as_mut().poll(cx)))
            .await
            .unwrap_err();
    let rejection = error.downcast_ref::<Rejection>().unwrap();
    assert_eq!(rejection.reason(), RejectionReason::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_readiness_goes_to_an_instance_that_is_added() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(2));
    let (endpoints, _) = connecting(&discovery, |number, _| match number {
        2 => Readiness::AtOnce,
        _ => Readiness::Never,
    });
    let service = layer(P2c::new()).layer(endpoints);
    let waiting = tokio::spawn(service.oneshot(1));
    sleep(SECOND).await;
    sender.set(instances(3));
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_readiness_is_rejected_if_the_last_instance_goes() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(2));
    let (endpoints, _) = connecting(&discovery, |_, _| Readiness::Never);
    let service = layer(P2c::new()).layer(endpoints);
    let waiting = tokio::spawn(service.oneshot(1));
    sleep(SECOND).await;
    sender.set([]);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        error.downcast_ref::<Rejection>().unwrap().reason(),
        RejectionReason::Unavailable
    );
}

/// influxdb_iox 6508: an instance whose readiness had failed was dropped for ever.
#[tokio::test(start_paused = true)]
async fn a_service_that_failed_to_get_ready_is_made_anew_at_most_once_a_second() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let seen = made.clone();
    let (endpoints, _) = connecting(&Discovery::fixed(instances(2)), move |number, count| {
        seen.lock().unwrap().push(number);
        match (number, count) {
            (0, 0..5) => Readiness::Fails,
            _ => Readiness::AtOnce,
        }
    });
    let service = layer(RoundRobin::new()).layer(endpoints);
    let start = Instant::now();
    let mut first = None;
    while first.is_none() {
        assert!(
            start.elapsed() < 60 * SECOND,
            "the service was not made anew"
        );
        for request in 0..20 {
            let number = call(&service, request).await;
            first = first.or((number == 0).then(|| start.elapsed()));
        }
        sleep(100 * MS).await;
    }
    // The third time, after four failures: 1 for the other instance, and one a second.
    assert_eq!(first.unwrap().as_secs(), 4);
    assert_eq!(*made.lock().unwrap(), [0, 1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_readiness_is_the_result_if_no_instance_is_left() {
    let (endpoints, _) = connecting(&Discovery::fixed(instances(2)), |_, _| Readiness::Fails);
    let service = layer(P2c::new()).layer(endpoints);
    let error = service.oneshot(1).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection");
}

/// Chooses the index that it was told, also out of range.
#[derive(Debug, Clone)]
struct Fixed(usize);

impl BuildTable for Fixed {
    type Table = ();
    fn build_table(&self, _instances: &[Instance]) {}
}

impl<Req> Picker<Req> for Fixed {
    fn pick(&self, _: &(), _: &impl Candidates, _: &Call<'_, Req>, _: u32) -> usize {
        self.0
    }
}

/// LB-01, tower 856: the index of a chosen instance was that of another one after a removal.
#[tokio::test(start_paused = true)]
async fn an_index_out_of_range_is_no_choice() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(3));
    let service = layer(Fixed(2)).layer(succeeding(&discovery));
    assert_eq!(call(&service, 0).await, 2);
    sender.set(instances(2));
    assert!(call(&service, 0).await < 2);
}

/// LB-01, tower 856: there is no choice before the call, so that a removal in between cannot change it.
#[tokio::test(start_paused = true)]
async fn a_removal_between_readiness_and_call_is_seen() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(3));
    let mut service = layer(RoundRobin::starting_at(2)).layer(succeeding(&discovery));
    let service = Service::<u64>::poll_ready(
        &mut service,
        &mut Context::from_waker(std::task::Waker::noop()),
    )
    .map(|_| service);
    let Poll::Ready(mut service) = service else {
        panic!("always ready")
    };
    sender.set(instances(2));
    assert!(service.call(0).await.unwrap() < 2);
}

/// Each clone is pending at its first poll, as one that connects is, and then ready or failed.
struct PendingFirst {
    number: u16,
    fails: bool,
    was_polled: bool,
}

impl Clone for PendingFirst {
    fn clone(&self) -> Self {
        Self {
            was_polled: false,
            ..*self
        }
    }
}

impl Service<u64> for PendingFirst {
    type Response = u16;
    type Error = BoxError;
    type Future = Ready<Result<u16, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !std::mem::replace(&mut self.was_polled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(if self.fails {
            Err("no connection".into())
        } else {
            Ok(())
        })
    }

    fn call(&mut self, _request: u64) -> Self::Future {
        ready(Ok(self.number))
    }
}

/// A call that looked for instances again and again in one poll would hold its thread for ever.
#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_instances_that_get_ready_reject_or_fail() {
    for count in [1, 5] {
        let discovery = Discovery::fixed(instances(count));
        let rejecting = discovery.endpoints(|instance| {
            let breaker = CircuitBreakerLayer::new();
            breaker.handle().force_open();
            InstanceService::new(PendingFirst {
                number: number(instance),
                fails: false,
                was_polled: false,
            })
            .guards(breaker)
        });
        let service = layer(P2c::new()).layer(rejecting);
        let error = service.oneshot(0).await.unwrap_err();
        let rejection = error.downcast_ref::<Rejection>().unwrap();
        assert_eq!(rejection.reason(), RejectionReason::CircuitOpen);

        let failing = discovery.endpoints(|instance| {
            InstanceService::new(PendingFirst {
                number: number(instance),
                fails: true,
                was_polled: false,
            })
        });
        let service = layer(P2c::new()).layer(failing);
        let error = service.oneshot(0).await.unwrap_err();
        assert_eq!(error.to_string(), "no connection");
    }
}

/// A set that changes often must not make the connection of a call begin anew each time.
#[tokio::test(start_paused = true)]
async fn a_wait_for_an_instance_goes_on_while_the_set_changes() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(1));
    let (endpoints, _) = connecting(&discovery, |_, _| Readiness::After(300 * MS));
    let service = layer(P2c::new()).layer(endpoints);
    let call = tokio::spawn(service.oneshot(0));
    for version in 0..4 {
        sleep(100 * MS).await;
        sender.set(instances(1).map(|instance| instance.version(version.to_string())));
    }
    assert!(call.is_finished());
    assert_eq!(call.await.unwrap().unwrap(), 0);
}

/// A call that waits for an instance that gets ready as it is removed goes elsewhere.
#[tokio::test(start_paused = true)]
async fn a_wait_for_an_instance_ends_when_it_is_removed() {
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(1));
    let (endpoints, _) = connecting(&discovery, |number, _| match number {
        0 => Readiness::After(100 * MS),
        _ => Readiness::AtOnce,
    });
    let service = layer(P2c::new()).layer(endpoints);
    let mut call = Box::pin(service.oneshot(0));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(200 * MS).await;
    sender.set(instances(2).filter(|instance| number(instance) == 1));
    let Poll::Ready(result) = call.as_mut().poll(&mut cx) else {
        panic!("an instance is ready")
    };
    assert_eq!(result.unwrap(), 1);
}

/// An instance that is ejected must not get all calls as soon as the others are busy.
#[tokio::test(start_paused = true)]
async fn a_call_waits_for_busy_instances_and_does_not_go_to_an_ejected_one() {
    let (endpoints, _) = connecting(&Discovery::fixed(instances(3)), |number, _| match number {
        0 => Readiness::AtOnce,
        _ => Readiness::After(10 * MS),
    });
    let layer = layer(P2c::new());
    let handle = layer.handle();
    let service = layer.layer(endpoints);
    handle.eject(&super::setup::address(0), SECOND);
    for request in 0..10 {
        assert_ne!(call(&service, request).await, 0);
    }
}
