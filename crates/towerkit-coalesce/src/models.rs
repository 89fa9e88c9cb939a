//! Models for loom: every interleaving of two callers with one key.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    flight::Landing,
    flights::{Answer, Flights, Joined, Lead, Wait},
};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // SeqCst: it is the word of the executor, not what is looked into here.
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One who waits, and has been polled once.
struct Waiter {
    wait: Wait<u8>,
    woken: Arc<Woken>,
    landing: Poll<Landing<Answer>>,
}

impl Waiter {
    fn new(wait: Wait<u8>) -> Self {
        let mut waiter = Self {
            wait,
            woken: Arc::default(),
            landing: Poll::Pending,
        };
        waiter.poll();
        waiter
    }

    fn poll(&mut self) {
        let waker = Waker::from(self.woken.clone());
        self.landing = self.wait.poll(&Context::from_waker(&waker));
    }

    /// Returns what it has waited for, after the flight has ended.
    fn end(mut self) -> Option<u8> {
        if self.landing.is_pending() {
            let is_woken = self.woken.0.load(Ordering::SeqCst);
            assert!(is_woken, "nobody woke who waits");
            self.poll();
        }
        match self.landing {
            Poll::Pending => panic!("the flight has ended"),
            Poll::Ready(Landing::Shared(answer)) => answer.downcast_ref().copied(),
            Poll::Ready(Landing::Failed | Landing::Alone) => None,
        }
    }
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(run);
}

fn seven() -> Landing<Answer> {
    Landing::Shared(Arc::new(7_u8))
}

fn lead(flights: &Arc<Flights<u8>>) -> Lead<u8> {
    match flights.join(1) {
        Joined::Lead(lead) => lead,
        Joined::Wait(_) => panic!("another leads"),
    }
}

fn wait(flights: &Arc<Flights<u8>>) -> Wait<u8> {
    match flights.join(1) {
        Joined::Wait(wait) => wait,
        Joined::Lead(_) => panic!("nobody leads"),
    }
}

/// One leads and lands, the other joins in before, meanwhile or after.
fn land_and_join(land: impl Fn(Lead<u8>) + Copy + Send + Sync + 'static, answer: Option<u8>) {
    model(move || {
        let flights = Arc::new(Flights::new());
        let lead = lead(&flights);
        let others = flights.clone();
        let other = thread::spawn(move || match others.join(1) {
            Joined::Lead(_) => None,
            Joined::Wait(wait) => Some(Waiter::new(wait)),
        });
        land(lead);
        if let Some(waiter) = other.join().unwrap() {
            assert_eq!(waiter.end(), answer);
        }
        assert_eq!(flights.snapshot().in_flight, 0);
    });
}

#[test]
fn loom_who_joins_gets_the_answer_or_calls() {
    land_and_join(|lead| lead.land(seven), Some(7));
}

#[test]
fn loom_who_joins_a_leader_that_gives_up_learns_it() {
    land_and_join(drop, None);
}

#[test]
fn loom_of_two_who_wait_one_leads_and_the_other_gets_its_answer() {
    fn again(wait: Wait<u8>) -> Option<Waiter> {
        match wait.rejoin() {
            Joined::Lead(lead) => {
                lead.land(seven);
                None
            }
            Joined::Wait(wait) => Some(Waiter::new(wait)),
        }
    }
    model(|| {
        let flights = Arc::new(Flights::new());
        let lead = lead(&flights);
        let (one, other) = (wait(&flights), wait(&flights));
        drop(lead);
        let other = thread::spawn(move || again(other));
        let ends = [again(one), other.join().unwrap()];
        assert!(ends.iter().any(Option::is_none), "nobody leads");
        for waiter in ends.into_iter().flatten() {
            assert_eq!(waiter.end(), Some(7));
        }
        assert_eq!(flights.snapshot().in_flight, 0);
    });
}

#[test]
fn loom_who_gives_up_while_it_is_woken_leaves_nothing() {
    model(|| {
        let flights = Arc::new(Flights::new());
        let lead = lead(&flights);
        let waiter = Waiter::new(wait(&flights));
        let woken = waiter.woken.clone();
        let other = thread::spawn(move || drop(waiter));
        lead.land(seven);
        other.join().unwrap();
        assert_eq!(flights.snapshot().in_flight, 0);
        assert_eq!(Arc::strong_count(&woken), 1, "a waker is left");
    });
}
