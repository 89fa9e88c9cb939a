//! Loom models: every interleaving of two callers with one key.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    call_table::{AnyResponse, CallTable, Follower, Joined, Leader},
    shared_call::CallResult,
};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // SeqCst: the executor's flag is not part of the model.
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A follower that has been polled once.
struct Waiter {
    wait: Follower<u8>,
    woken: Arc<Woken>,
    outcome: Poll<CallResult<AnyResponse>>,
}

impl Waiter {
    fn new(wait: Follower<u8>) -> Self {
        let mut waiter = Self {
            wait,
            woken: Arc::default(),
            outcome: Poll::Pending,
        };
        waiter.poll();
        waiter
    }

    fn poll(&mut self) {
        let waker = Waker::from(self.woken.clone());
        self.outcome = self.wait.poll(&Context::from_waker(&waker));
    }

    /// Returns the shared response, after the call has ended.
    fn end(mut self) -> Option<u8> {
        if self.outcome.is_pending() {
            let is_woken = self.woken.0.load(Ordering::SeqCst);
            assert!(is_woken, "the waiter is woken");
            self.poll();
        }
        match self.outcome {
            Poll::Pending => panic!("the call has ended"),
            Poll::Ready(CallResult::Shared(answer)) => answer.downcast_ref().copied(),
            Poll::Ready(CallResult::Failed | CallResult::Private) => None,
        }
    }
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(run);
}

fn seven() -> CallResult<AnyResponse> {
    CallResult::Shared(Arc::new(7_u8))
}

fn lead(calls: &Arc<CallTable<u8>>) -> Leader<u8> {
    match calls.join(1) {
        Joined::Leader(lead) => lead,
        Joined::Follower(_) => panic!("another leads"),
    }
}

fn wait(calls: &Arc<CallTable<u8>>) -> Follower<u8> {
    match calls.join(1) {
        Joined::Follower(wait) => wait,
        Joined::Leader(_) => panic!("no leader"),
    }
}

/// One caller leads and completes; the other joins before, during or after that.
fn complete_and_join(
    complete: impl Fn(Leader<u8>) + Copy + Send + Sync + 'static,
    answer: Option<u8>,
) {
    model(move || {
        let calls = Arc::new(CallTable::new());
        let lead = lead(&calls);
        let others = calls.clone();
        let other = thread::spawn(move || match others.join(1) {
            Joined::Leader(_) => None,
            Joined::Follower(wait) => Some(Waiter::new(wait)),
        });
        complete(lead);
        if let Some(waiter) = other.join().unwrap() {
            assert_eq!(waiter.end(), answer);
        }
        assert_eq!(calls.snapshot().in_flight, 0);
    });
}

#[test]
fn loom_a_caller_that_joins_gets_the_response_or_leads() {
    complete_and_join(|lead| lead.complete(seven), Some(7));
}

#[test]
fn loom_a_follower_of_a_dropped_leader_is_woken() {
    complete_and_join(drop, None);
}

#[test]
fn loom_of_two_followers_one_leads_and_the_other_gets_its_response() {
    fn again(wait: Follower<u8>) -> Option<Waiter> {
        match wait.rejoin() {
            Joined::Leader(lead) => {
                lead.complete(seven);
                None
            }
            Joined::Follower(wait) => Some(Waiter::new(wait)),
        }
    }
    model(|| {
        let calls = Arc::new(CallTable::new());
        let lead = lead(&calls);
        let (one, other) = (wait(&calls), wait(&calls));
        drop(lead);
        let other = thread::spawn(move || again(other));
        let ends = [again(one), other.join().unwrap()];
        assert!(ends.iter().any(Option::is_none), "no leader");
        for waiter in ends.into_iter().flatten() {
            assert_eq!(waiter.end(), Some(7));
        }
        assert_eq!(calls.snapshot().in_flight, 0);
    });
}

#[test]
fn loom_a_follower_dropped_while_it_is_woken_leaves_no_waker() {
    model(|| {
        let calls = Arc::new(CallTable::new());
        let lead = lead(&calls);
        let waiter = Waiter::new(wait(&calls));
        let woken = waiter.woken.clone();
        let other = thread::spawn(move || drop(waiter));
        lead.complete(seven);
        other.join().unwrap();
        assert_eq!(calls.snapshot().in_flight, 0);
        assert_eq!(Arc::strong_count(&woken), 1, "a waker is left");
    });
}
