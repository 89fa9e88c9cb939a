//! Models for [`loom`]: every interleaving of a few threads, with at most three preemptions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use loom::thread;

use crate::{
    classes::{ClassIndex, PriorityClasses},
    limiter::{Enqueued, Limiter},
    partitions::{Partitions, PermitOrigin},
    queue::Queue,
    sync as watched,
    throttle::SlidingWindow,
    wait_queue::WaiterKey,
};

/// Checks a model twice, see [`watched`].
fn model(run: impl Fn() + Copy + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    for loads_count_as_writes in [false, true] {
        watched::LOADS_COUNT_AS_WRITES.set(loads_count_as_writes);
        builder.check(run);
    }
}

fn limiter(limit: u32) -> Arc<Limiter> {
    let queue = Queue::new(9, Duration::from_secs(1)).unwrap();
    Arc::new(Limiter::new(limit, &PriorityClasses::new(), Some(queue)))
}

/// Takes a permit, or enters the queue.
fn begin(limiter: &Limiter) -> Result<PermitOrigin, WaiterKey> {
    if limiter.try_acquire() {
        return Ok(Partitions::NONE);
    }
    match limiter.enqueue(ClassIndex::SINGLE, u64::MAX, 0) {
        Enqueued::Admitted(origin) => Ok(origin),
        Enqueued::Waiting { key, .. } => Err(key),
        Enqueued::Full => panic!("the queue is not full"),
    }
}

fn release(limiter: &Limiter, origin: PermitOrigin) {
    if limiter.release(origin).is_waiting() {
        limiter.serve_queue(0);
    }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn assert_idle(limiter: &Limiter) {
    let state = limiter.state();
    assert_eq!((state.in_flight(), limiter.waiting()), (0, 0));
    assert!(!state.is_waiting());
}

/// LS-01
#[test]
fn loom_two_calls_are_not_in_flight_under_a_limit_of_one() {
    model(|| {
        let limiter = limiter(1);
        let in_flight = Arc::new(AtomicU32::new(0));
        let run = |limiter: &Limiter, in_flight: &AtomicU32| {
            if limiter.try_acquire() {
                assert_eq!(in_flight.fetch_add(1, Ordering::SeqCst), 0);
                thread::yield_now();
                in_flight.fetch_sub(1, Ordering::SeqCst);
                release(limiter, Partitions::NONE);
            }
        };
        let other = thread::spawn({
            let (limiter, in_flight) = (limiter.clone(), in_flight.clone());
            move || run(&limiter, &in_flight)
        });
        run(&limiter, &in_flight);
        other.join().unwrap();
        assert!(limiter.try_acquire(), "the permit was lost");
    });
}

/// LS-12: a call that ends while another starts to wait passes its permit on, and wakes it.
#[test]
fn loom_a_call_that_starts_to_wait_is_not_missed_by_a_release() {
    model(|| {
        let limiter = limiter(1);
        assert!(limiter.try_acquire());
        let other = thread::spawn({
            let limiter = limiter.clone();
            move || release(&limiter, Partitions::NONE)
        });
        let wakes = Arc::new(Wakes::default());
        let origin = match begin(&limiter) {
            Ok(origin) => Some(origin),
            Err(key) => {
                let polled = limiter.poll_waiter(key, Some(&Waker::from(wakes.clone())));
                let is_pending = polled.is_none();
                other.join().unwrap();
                let result = polled.or_else(|| limiter.poll_waiter(key, None));
                assert!(!is_pending || wakes.0.load(Ordering::Relaxed) == 1);
                release(&limiter, result.expect("resolved").unwrap());
                assert_idle(&limiter);
                return;
            }
        };
        other.join().unwrap();
        release(&limiter, origin.unwrap());
        assert_idle(&limiter);
    });
}

/// A call that arrives while another ends does not overtake the waiting call.
#[test]
fn loom_no_call_overtakes_a_waiting_call() {
    model(|| {
        let limiter = limiter(1);
        assert!(limiter.try_acquire());
        let first = begin(&limiter).unwrap_err();
        let other = thread::spawn({
            let limiter = limiter.clone();
            move || release(&limiter, Partitions::NONE)
        });
        assert!(!limiter.try_acquire());
        other.join().unwrap();
        assert!(matches!(limiter.poll_waiter(first, None), Some(Ok(_))));
    });
}

/// LS-12: a call that is cancelled when it has just been admitted passes the permit on.
#[test]
fn loom_a_cancelled_waiter_does_not_keep_the_permit() {
    model(|| {
        let limiter = limiter(1);
        assert!(limiter.try_acquire());
        let first = begin(&limiter).unwrap_err();
        let second = begin(&limiter).unwrap_err();
        let other = thread::spawn({
            let limiter = limiter.clone();
            move || release(&limiter, Partitions::NONE)
        });
        limiter.cancel_waiter(first, || 0);
        other.join().unwrap();
        let origin = limiter
            .poll_waiter(second, None)
            .expect("stranded")
            .unwrap();
        release(&limiter, origin);
        assert_idle(&limiter);
    });
}

/// LS-12: the last call leaves the queue while another enters it.
#[test]
fn loom_the_waiting_flag_stays_while_a_call_waits() {
    model(|| {
        let limiter = limiter(1);
        assert!(limiter.try_acquire());
        let first = begin(&limiter).unwrap_err();
        let other = thread::spawn({
            let limiter = limiter.clone();
            move || limiter.cancel_waiter(first, || 0)
        });
        let second = begin(&limiter).unwrap_err();
        assert!(!other.join().unwrap());
        release(&limiter, Partitions::NONE);
        let origin = limiter
            .poll_waiter(second, None)
            .expect("stranded")
            .unwrap();
        release(&limiter, origin);
        assert_idle(&limiter);
    });
}

/// LS-12: the limit is raised while a call starts to wait.
#[test]
fn loom_a_higher_limit_admits_a_waiting_call() {
    model(|| {
        let limiter = limiter(1);
        assert!(limiter.try_acquire());
        let other = thread::spawn({
            let limiter = limiter.clone();
            move || {
                if limiter.set_limit(2) {
                    limiter.serve_queue(0);
                }
            }
        });
        let begun = begin(&limiter);
        other.join().unwrap();
        let origin = begun.or_else(|key| {
            let result = limiter.poll_waiter(key, None);
            result.expect("stranded").map_err(|_| key)
        });
        assert!(origin.is_ok());
        let state = limiter.state();
        assert_eq!((state.in_flight(), state.limit()), (2, 2));
    });
}

/// LS-12, with partitions: a call that holds a permit for a moment hides it from another.
#[test]
fn loom_a_partition_permit_is_not_lost_between_two_calls() {
    model(|| {
        let classes = PriorityClasses::new().partition("web", 1.0).unwrap();
        let queue = Queue::new(1, Duration::from_secs(1)).unwrap();
        let limiter = Arc::new(Limiter::new(1, &classes, Some(queue)));
        let acquire = |limiter: &Limiter| limiter.try_acquire_as(ClassIndex::SINGLE, 1, false);
        let origin = acquire(&limiter).unwrap();
        let Enqueued::Waiting { key, .. } = limiter.enqueue(ClassIndex::SINGLE, u64::MAX, 1) else {
            panic!("not queued");
        };
        let other = thread::spawn({
            let limiter = limiter.clone();
            move || release(&limiter, origin)
        });
        assert!(acquire(&limiter).is_none(), "overtook the waiting call");
        other.join().unwrap();
        let origin = limiter.poll_waiter(key, None).expect("stranded").unwrap();
        release(&limiter, origin);
        assert_idle(&limiter);
    });
}

/// The totals of a throttle are the sum of its buckets, also if a thread counts while another slides the window.
#[test]
fn loom_counts_are_neither_lost_nor_kept_for_ever() {
    model(|| {
        let window = Arc::new(SlidingWindow::new(SlidingWindow::BUCKETS));
        assert_eq!(window.counts(1).calls, 0);
        let other = thread::spawn({
            let window = window.clone();
            move || {
                window.record_call();
                window.record_accepted(1);
            }
        });
        let far = 1 + SlidingWindow::BUCKETS;
        assert!(window.counts(far).calls <= 1);
        other.join().unwrap();
        let left = window.counts(far + SlidingWindow::BUCKETS);
        assert_eq!((left.calls, left.accepted), (0, 0));
    });
}
