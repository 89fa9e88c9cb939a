//! A limit with a queue, from the view of its callers.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tower::{Layer, Service, ServiceExt};
use towerkit_concurrency::{
    AcquireFuture, Adaptive, ConcurrencyLimitHandle, ConcurrencyLimitLayer, LimitAlgorithm, Permit,
    Queue, QueuedConcurrencyLimitLayer, Window,
};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, CarriesRejection, Clock, Deadline, DescribeRequest,
    Outcome, Plain, Policy, ProtocolKind, Rejection, RejectionReason,
};
use towerkit_test::{Action, Probe, run_paused, tokio_clock};

use crate::guards::Limit;

const MS: Duration = Duration::from_millis(1);

fn queue_of(size: u32) -> Queue {
    Queue::new(size, 50 * MS).unwrap()
}

fn layer(limit: u32, queue: Queue) -> QueuedConcurrencyLimitLayer {
    let layer = ConcurrencyLimitLayer::new(limit).unwrap();
    layer.queue(queue).clock(tokio_clock())
}

/// A waiting call that the test polls.
struct Waiter {
    future: Pin<Box<AcquireFuture>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Waiter {
    fn poll(&mut self) -> Poll<Result<Permit, RejectionReason>> {
        let waker = Waker::from(self.wakes.clone());
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        polled.map_err(|rejection| rejection.reason())
    }

    fn wakes(&self) -> u32 {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

fn begin(limit: &Limit) -> Result<Admission<Permit, Waiter>, RejectionReason> {
    let protocol = Plain::new("test");
    begin_by(limit, &protocol)
}

fn begin_by(
    limit: &Limit,
    protocol: &dyn DescribeRequest<()>,
) -> Result<Admission<Permit, Waiter>, RejectionReason> {
    match AsyncGuard::admit(limit, &mut Call::new(&mut (), protocol)) {
        Ok(Admission::Now(permit)) => Ok(Admission::Now(permit)),
        Ok(Admission::Later(future)) => Ok(Admission::Later(Waiter {
            future: Box::pin(future),
            wakes: Arc::default(),
        })),
        Err(rejection) => Err(rejection.reason()),
    }
}

fn admitted(limit: &Limit) -> Permit {
    match begin(limit) {
        Ok(Admission::Now(permit)) => permit,
        _ => panic!("not admitted at once"),
    }
}

/// Begins a call that has to wait, and polls it once.
fn waiting(limit: &Limit) -> Waiter {
    let Ok(Admission::Later(mut waiter)) = begin(limit) else {
        panic!("did not wait");
    };
    assert!(waiter.poll().is_pending());
    waiter
}

fn assert_idle(handle: &ConcurrencyLimitHandle) {
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
}

fn finish(limit: &Limit, permit: Permit) {
    limit.finish(permit, &CallEnd::new(Outcome::Success));
}

fn granted(waiter: &mut Waiter) -> Permit {
    match waiter.poll() {
        Poll::Ready(Ok(permit)) => permit,
        other => panic!("{other:?} instead of a permit"),
    }
}

#[test]
fn calls_are_served_in_the_order_of_their_arrival() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(3)));
        let mut permit = admitted(&limit);
        let mut waiters: Vec<_> = (0..3).map(|_| waiting(&limit)).collect();
        assert_eq!((limit.in_flight(), limit.waiting()), (1, 3));
        for number in 0..3 {
            finish(&limit, permit);
            let (first, rest) = waiters[number..].split_first_mut().unwrap();
            assert!(rest.iter_mut().all(|waiter| waiter.poll().is_pending()));
            permit = granted(first);
        }
        finish(&limit, permit);
        assert_eq!(
            (limit.in_flight(), limit.waiting(), limit.rejected()),
            (0, 0, 0)
        );
    });
}

#[test]
fn no_call_overtakes_a_waiting_call() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(3)));
        let permit = admitted(&limit);
        let mut first = waiting(&limit);
        finish(&limit, permit);
        // The permit belongs to the first waiter already, before it is polled.
        let mut second = waiting(&limit);
        let permit = granted(&mut first);
        finish(&limit, permit);
        finish(&limit, granted(&mut second));
    });
}

#[test]
fn a_full_queue_rejects_at_once() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(2)));
        let _permit = admitted(&limit);
        let _waiters = [waiting(&limit), waiting(&limit)];
        assert!(matches!(begin(&limit), Err(RejectionReason::Overloaded)));
        assert_eq!(limit.rejected(), 1);
    });
}

/// LS-04
#[test]
fn a_call_that_waited_too_long_never_runs() {
    run_paused(async {
        let probe = Probe::new();
        let counts = probe.counts();
        let service = layer(1, queue_of(100)).layer(probe);
        let busy = tokio::spawn(service.clone().oneshot(Action::Sleep(51 * MS)));
        tokio::task::yield_now().await;
        let waiters: Vec<_> = (0..100)
            .map(|_| tokio::spawn(service.clone().oneshot(Action::Succeed)))
            .collect();
        for waiter in waiters {
            let error = waiter.await.unwrap().unwrap_err();
            assert_eq!(
                error.rejection().map(Rejection::reason),
                Some(RejectionReason::Overloaded)
            );
        }
        busy.await.unwrap().unwrap();
        assert_eq!(counts.started(), 1);
    });
}

/// LS-04: the call gets its permit in time, but is polled late.
#[test]
fn an_admitted_call_that_is_polled_too_late_never_runs() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(100)));
        let permit = admitted(&limit);
        let (mut late, mut next) = (waiting(&limit), waiting(&limit));
        tokio::time::advance(49 * MS).await;
        finish(&limit, permit);
        tokio::time::advance(MS).await;
        assert_eq!(late.poll(), Poll::Ready(Err(RejectionReason::Overloaded)));
        assert_eq!(next.poll(), Poll::Ready(Err(RejectionReason::Overloaded)));
        assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
    });
}

/// A protocol whose requests have a deadline.
struct Due(Deadline);

impl DescribeRequest<()> for Due {
    fn operation<'a>(&'a self, (): &'a (), _kind: ProtocolKind) -> &'a str {
        "test"
    }

    fn deadline(&self, (): &()) -> Option<Deadline> {
        Some(self.0.clone())
    }
}

/// LS-04
#[test]
fn a_call_is_rejected_when_its_deadline_passes_in_the_queue() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(100)));
        let _permit = admitted(&limit);
        let due = Due(Deadline::after(&tokio_clock(), 20 * MS));
        let Ok(Admission::Later(mut waiter)) = begin_by(&limit, &due) else {
            panic!("did not wait");
        };
        assert!(waiter.poll().is_pending());
        tokio::time::advance(19 * MS).await;
        assert!(waiter.poll().is_pending());
        tokio::time::advance(MS).await;
        assert_eq!(
            waiter.poll(),
            Poll::Ready(Err(RejectionReason::DeadlineExceeded))
        );
        assert_eq!(limit.waiting(), 0);
    });
}

#[test]
fn a_call_whose_deadline_has_passed_does_not_wait() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(100)));
        let _permit = admitted(&limit);
        let (clock, clock_control) = Clock::manual();
        let due = Due(Deadline::after(&clock, MS));
        clock_control.advance(MS);
        let rejected = begin_by(&limit, &due);
        assert!(matches!(rejected, Err(RejectionReason::DeadlineExceeded)));
        assert_eq!(limit.waiting(), 0);
    });
}

#[test]
fn the_newest_call_is_first_in_a_queue_that_stays_nonempty() {
    run_paused(async {
        let newest_first = queue_of(3).newest_first_after(10 * MS).unwrap();
        let limit = Limit::of(layer(1, newest_first));
        let permit = admitted(&limit);
        let mut waiters: Vec<_> = (0..3).map(|_| waiting(&limit)).collect();
        finish(&limit, permit);
        finish(&limit, granted(&mut waiters[0]));
        let permit = granted(&mut waiters[1]);
        waiters.push(waiting(&limit));
        tokio::time::advance(10 * MS).await;
        finish(&limit, permit);
        finish(&limit, granted(&mut waiters[3]));
        finish(&limit, granted(&mut waiters[2]));
        assert_eq!(limit.waiting(), 0);
    });
}

#[test]
fn a_full_queue_evicts_the_oldest_call_if_the_newest_is_first() {
    run_paused(async {
        let newest_first = queue_of(2).newest_first_after(10 * MS).unwrap();
        let limit = Limit::of(layer(1, newest_first));
        let _permit = admitted(&limit);
        let mut waiters: Vec<_> = (0..2).map(|_| waiting(&limit)).collect();
        tokio::time::advance(10 * MS).await;
        waiters.push(waiting(&limit));
        assert_eq!(
            waiters[0].poll(),
            Poll::Ready(Err(RejectionReason::Overloaded))
        );
        assert!(waiters[1].poll().is_pending());
        assert_eq!(limit.waiting(), 2);
    });
}

#[test]
fn the_wait_is_short_in_a_queue_that_stays_nonempty() {
    run_paused(async {
        let codel = queue_of(9)
            .max_wait_under_overload(5 * MS, 20 * MS)
            .unwrap();
        let limit = Limit::of(layer(1, codel));
        let _permit = admitted(&limit);
        let mut early = waiting(&limit);
        tokio::time::advance(20 * MS).await;
        let mut late = waiting(&limit);
        tokio::time::advance(5 * MS).await;
        assert_eq!(late.poll(), Poll::Ready(Err(RejectionReason::Overloaded)));
        tokio::time::advance(24 * MS).await;
        assert!(early.poll().is_pending());
        tokio::time::advance(MS).await;
        assert_eq!(early.poll(), Poll::Ready(Err(RejectionReason::Overloaded)));
    });
}

#[test]
fn a_higher_limit_admits_waiting_calls() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(9)));
        let _permit = admitted(&limit);
        let mut waiters: Vec<_> = (0..3).map(|_| waiting(&limit)).collect();
        limit.set_limit(3);
        assert!(waiters[0].poll().is_ready() && waiters[1].poll().is_ready());
        assert!(waiters[2].poll().is_pending());
        assert_eq!((limit.in_flight(), limit.waiting()), (3, 1));
    });
}

/// T-06
#[test]
fn a_call_that_waits_is_woken_once() {
    run_paused(async {
        let limit = Limit::of(layer(1, queue_of(9)));
        let permit = admitted(&limit);
        let (mut first, second) = (waiting(&limit), waiting(&limit));
        tokio::time::advance(40 * MS).await;
        assert_eq!((first.wakes(), second.wakes()), (0, 0));
        finish(&limit, permit);
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        drop(first.poll());
        tokio::time::advance(20 * MS).await;
        assert_eq!((first.wakes(), second.wakes()), (1, 1));
    });
}

/// T-06, through the middleware.
#[test]
fn a_minute_in_the_queue_takes_three_polls() {
    run_paused(async {
        let queue = Queue::new(1, 70 * Duration::from_secs(1)).unwrap();
        let service = layer(1, queue).layer(Probe::new());
        let busy = service
            .clone()
            .oneshot(Action::Sleep(Duration::from_secs(60)));
        tokio::spawn(busy);
        tokio::task::yield_now().await;
        let mut polls = 0;
        let mut call = pin!(service.oneshot(Action::Succeed));
        poll_fn(|cx| {
            polls += 1;
            call.as_mut().poll(cx)
        })
        .await
        .unwrap();
        assert!(polls <= 3, "{polls} polls");
    });
}

/// T-03, LS-12: dropped before or after it was admitted.
#[test]
fn a_dropped_call_passes_its_place_and_its_permit_on() {
    run_paused(async {
        for polls_before in [0, 1] {
            for admitted_meanwhile in [false, true] {
                let limit = Limit::of(layer(1, queue_of(9)));
                let permit = admitted(&limit);
                let Ok(Admission::Later(mut dropped)) = begin(&limit) else {
                    panic!("did not wait");
                };
                (0..polls_before).for_each(|_| assert!(dropped.poll().is_pending()));
                let mut next = waiting(&limit);
                if admitted_meanwhile {
                    finish(&limit, permit);
                    drop(dropped);
                } else {
                    drop(dropped);
                    finish(&limit, permit);
                }
                assert_eq!(next.wakes(), 1);
                finish(&limit, granted(&mut next));
                assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
            }
        }
    });
}

/// T-03, through the middleware: dropped at every poll, with another call behind it in the queue.
#[test]
fn a_call_that_is_dropped_while_it_waits_strands_no_other() {
    run_paused(async {
        for polls in 0..6 {
            let layer = layer(1, queue_of(9));
            let handle = layer.handle();
            let service = layer.layer(Probe::new());
            let first = tokio::spawn(service.clone().oneshot(Action::Sleep(10 * MS)));
            tokio::task::yield_now().await;
            let mut dropped = Box::pin(service.clone().oneshot(Action::Pend(3)));
            let behind = tokio::spawn(service.clone().oneshot(Action::Succeed));
            for poll in 0..polls {
                let polled = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await;
                assert!(polled.is_pending() || poll == polls - 1);
                if polled.is_ready() {
                    break;
                }
                if poll == 0 {
                    tokio::time::sleep(11 * MS).await;
                }
            }
            drop(dropped);
            first.await.unwrap().unwrap();
            behind.await.unwrap().unwrap();
            assert_idle(&handle);
        }
    });
}

/// LS-12
#[test]
fn no_call_is_stranded_by_a_hundred_thousand_cancellations() {
    run_paused(async {
        fastrand::seed(12);
        let limit = Limit::of(layer(4, queue_of(64)));
        let mut running = Vec::new();
        let mut waiters = Vec::new();
        let mut cancelled = 0;
        while cancelled < 100_000 {
            match begin(&limit) {
                Ok(Admission::Now(permit)) => running.push(permit),
                Ok(Admission::Later(mut waiter)) => {
                    if fastrand::bool() {
                        assert!(waiter.poll().is_pending());
                    }
                    waiters.push(waiter);
                }
                Err(_) => {}
            }
            if !waiters.is_empty() && fastrand::u8(..) < 160 {
                drop(waiters.swap_remove(fastrand::usize(..waiters.len())));
                cancelled += 1;
            }
            if !running.is_empty() && fastrand::u8(..) < 90 {
                finish(
                    &limit,
                    running.swap_remove(fastrand::usize(..running.len())),
                );
            }
            if fastrand::u8(..) < 90 {
                for mut waiter in std::mem::take(&mut waiters) {
                    match waiter.poll() {
                        Poll::Ready(permit) => running.push(permit.unwrap()),
                        Poll::Pending => waiters.push(waiter),
                    }
                }
            }
            let is_free = limit.in_flight() < limit.limit();
            assert!(!is_free || limit.waiting() == 0, "{limit:?}");
        }
        running.drain(..).for_each(|permit| finish(&limit, permit));
        drop(waiters);
        assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
    });
}

/// LS-12, across threads.
#[test]
fn no_call_is_stranded_across_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let queue = Queue::new(1_000, Duration::from_secs(600)).unwrap();
        let layer = ConcurrencyLimitLayer::new(3).unwrap().queue(queue);
        let handle = layer.handle();
        let service = layer.layer(Probe::new());
        let callers: Vec<_> = (0..32)
            .map(|seed| {
                let service = service.clone();
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..300 {
                        let mut call = Box::pin(service.clone().oneshot(Action::Pend(2)));
                        if random.bool() {
                            let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
                            drop((polled, call));
                        } else {
                            call.await.unwrap();
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_idle(&handle);
    });
}

/// A waiting call releases the readiness of the inner service.
#[test]
fn a_waiting_call_holds_no_reservation_of_the_inner_service() {
    run_paused(async {
        let probe = Probe::new();
        let counts = probe.counts();
        let mut service = layer(1, queue_of(9)).layer(probe);
        let mut other = service.clone();
        let first = readied(&mut service).await.call(Action::Sleep(10 * MS));
        let second = readied(&mut other).await.call(Action::Succeed);
        drop((service, other));
        assert_eq!(counts.reserved(), 0);
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(counts.violations(), 0);
    });
}

async fn readied<S: Service<Action, Error: std::fmt::Debug>>(service: &mut S) -> &mut S {
    service.ready().await.unwrap()
}

/// Records the mean durations.
#[derive(Clone, Default)]
struct RecordedMeans(Arc<std::sync::Mutex<Vec<Duration>>>);

impl LimitAlgorithm for RecordedMeans {
    fn update(&mut self, window: &Window) -> f64 {
        self.0.lock().unwrap().push(window.mean);
        window.limit
    }
}

#[test]
fn an_adaptive_limit_excludes_the_time_in_the_queue() {
    run_paused(async {
        let means = RecordedMeans::default();
        let adaptive = Adaptive::new(means.clone()).try_limits(1, 1).unwrap();
        let queue = Queue::new(100, Duration::from_secs(10)).unwrap();
        let layer = ConcurrencyLimitLayer::adaptive(adaptive).queue(queue);
        let service = layer.clock(tokio_clock()).layer(Probe::new());
        let calls: Vec<_> = (0..60)
            .map(|_| tokio::spawn(service.clone().oneshot(Action::Sleep(10 * MS))))
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        let means = means.0.lock().unwrap();
        assert!(
            means.len() > 1 && means.iter().all(|mean| *mean <= 11 * MS),
            "{means:?}"
        );
    });
}
