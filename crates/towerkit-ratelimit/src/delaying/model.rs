//! The queue beside a model that computes when each call is due from the whole history.

use std::{task::Waker, time::Duration};

use proptest::prelude::*;

use super::queued_bucket::{Enqueued, QueueLimits, QueuedBucket};
use crate::Quota;

const MILLI: u64 = 1_000_000;

/// A call of the model: its time of arrival, its cost, and its ticket if it had to wait.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: i128,
    cost: u32,
    ticket: Option<u64>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Admitted,
    /// Gave up while it waited. The model ignores it.
    Left,
}

struct Model {
    interval: i128,
    burst: i128,
    history: Vec<Arrival>,
}

impl Model {
    /// Returns the index and the due time of each call that did not give up, and the time at which the bucket is empty after all of them.
    fn due_times(&self) -> (Vec<(usize, i128)>, i128) {
        let mut empty = i128::MIN / 2;
        let mut due_times = Vec::new();
        for (i, arrival) in self.history.iter().enumerate() {
            if arrival.state != State::Left {
                empty = empty.max(arrival.at - self.burst * self.interval);
                empty += i128::from(arrival.cost) * self.interval;
                due_times.push((i, empty));
            }
        }
        (due_times, empty)
    }

    fn due_of_new_call(&self, now: i128, cost: u32) -> i128 {
        let (_, empty) = self.due_times();
        empty.max(now - self.burst * self.interval) + i128::from(cost) * self.interval
    }

    /// Returns the index and the due time of each call that waits, in order.
    fn waiting(&self) -> Vec<(usize, i128)> {
        let (mut due_times, _) = self.due_times();
        due_times.retain(|(i, _)| self.history[*i].state == State::Waiting);
        due_times
    }
}

struct Pair {
    real: QueuedBucket,
    model: Model,
    now: u64,
}

const LIMITS: QueueLimits = QueueLimits {
    max_wait: Duration::from_secs(1),
    max_len: 5,
};

/// So short a wait that calls of the model are rejected for it as well as for a full queue.
const MODEL_LIMITS: QueueLimits = QueueLimits {
    max_wait: Duration::from_millis(100),
    ..LIMITS
};

impl Pair {
    fn new(interval: u64, burst: u32) -> Self {
        let quota = Quota::new(1, Duration::from_nanos(interval)).unwrap();
        Self {
            real: QueuedBucket::new(quota.burst(burst).unwrap()),
            model: Model {
                interval: interval.into(),
                burst: burst.into(),
                history: Vec::new(),
            },
            now: 10_000 * MILLI,
        }
    }

    fn arrive(&mut self, cost: u32) {
        let due = self.model.due_of_new_call(self.now.into(), cost);
        let wait = due - i128::from(self.now);
        let is_full = self.model.waiting().len() >= MODEL_LIMITS.max_len;
        let taken = self.real.bucket().take(self.now, cost).is_ok();
        assert_eq!(taken, wait <= 0, "admitted at once");
        let (state, ticket) = if taken {
            (State::Admitted, None)
        } else {
            match self
                .real
                .enqueue(self.now, cost, MODEL_LIMITS, Duration::MAX)
            {
                Enqueued::Waiting(ticket) => {
                    assert!(!is_full && wait <= MODEL_LIMITS.max_wait.as_nanos() as i128);
                    (State::Waiting, Some(ticket))
                }
                Enqueued::Admitted => panic!("created tokens"),
                Enqueued::Rejected(_) => {
                    assert!(is_full || wait > MODEL_LIMITS.max_wait.as_nanos() as i128);
                    return;
                }
            }
        };
        self.model.history.push(Arrival {
            at: self.now.into(),
            cost,
            ticket,
            state,
        });
    }

    fn leave(&mut self, which: usize) {
        let waiting = self.model.waiting();
        if waiting.is_empty() {
            return;
        }
        let (i, _) = waiting[which % waiting.len()];
        let arrival = &mut self.model.history[i];
        arrival.state = State::Left;
        let ticket = arrival.ticket.expect("it waits");
        self.real.leave(ticket, arrival.cost, self.now);
        self.poll_all();
    }

    /// Lets time pass, in which each call is polled when it is due.
    fn pass(&mut self, time: u64) {
        let end = self.now + time;
        while let Some((_, due)) = self.model.waiting().first().copied() {
            if due > i128::from(end) {
                break;
            }
            self.now = self.now.max(due as u64);
            self.poll_all();
        }
        self.now = end;
        self.poll_all();
    }

    /// Polls all calls that wait, and compares them with the model.
    fn poll_all(&mut self) {
        let now = i128::from(self.now);
        for (place, (i, due)) in self.model.waiting().into_iter().enumerate() {
            let ticket = self.model.history[i].ticket.expect("it waits");
            let wait = self.real.poll_ticket(ticket, self.now, Waker::noop());
            let left = wait.map(|wait| wait.as_nanos() as i128);
            if due <= now {
                assert_eq!(left, None, "it is due");
                self.model.history[i].state = State::Admitted;
            } else if place == 0 {
                assert_eq!(left, Some(due - now), "the first in the queue");
            } else {
                assert!(left.is_some_and(|left| left >= due - now), "further back");
            }
        }
        assert_eq!(self.real.waiting(), self.model.waiting().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-08: each call is admitted at the time at which it would have been without the calls that gave up.
    #[test]
    fn a_call_that_gives_up_passes_its_tokens_to_the_next(
        interval in 1..20u64,
        burst in 1..5u32,
        steps in prop::collection::vec((0..10u32, 1..5u32, 0..40 * MILLI), 1..40),
    ) {
        let mut pair = Pair::new(interval * MILLI, burst);
        for (kind, cost, size) in steps {
            match kind {
                0..5 => pair.arrive(cost.min(burst)),
                5..7 => pair.leave(size as usize),
                _ => pair.pass(size),
            }
        }
        pair.pass(10_000 * MILLI);
        assert_eq!(pair.real.waiting(), 0);
    }
}

fn queued(count: u32, burst: u32) -> QueuedBucket {
    QueuedBucket::new(Quota::per_second(count).unwrap().burst(burst).unwrap())
}

fn enqueue(queued: &QueuedBucket, now: u64) -> u64 {
    match queued.enqueue(now, 1, LIMITS, Duration::MAX) {
        Enqueued::Waiting(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn poll(queued: &QueuedBucket, ticket: u64, now: u64) -> Option<u64> {
    let wait = queued.poll_ticket(ticket, now, Waker::noop())?;
    Some(wait.as_nanos() as u64 / MILLI)
}

/// RL-14: after a pause of the process, the calls that waited are not all admitted at once.
#[test]
fn calls_that_were_not_polled_in_time_are_postponed() {
    let queued = queued(10, 2);
    let now = 1000 * MILLI;
    assert!(queued.bucket().take(now, 2).is_ok());
    let tickets: Vec<_> = (0..5).map(|_| enqueue(&queued, now)).collect();
    let later = now + 3000 * MILLI;
    let went = tickets
        .iter()
        .filter(|n| poll(&queued, **n, later).is_none());
    assert_eq!(went.count(), 2);
    // A delay of ten milliseconds counts as none.
    assert_eq!(poll(&queued, tickets[2], later), Some(90));
    assert_eq!(poll(&queued, tickets[2], later + 90 * MILLI), None);
    assert_eq!(poll(&queued, tickets[3], later + 90 * MILLI), Some(100));
    assert!(queued.bucket().take(later + 190 * MILLI, 1).is_err());
}

/// After a timer that fires late by a tick, the next token is not late.
#[test]
fn a_late_timer_does_not_delay_the_next_token() {
    let queued = queued(1000, 1);
    let mut now = 1000 * MILLI;
    assert!(queued.bucket().take(now, 1).is_ok());
    for _ in 0..1000 {
        // Half a millisecond late, every time.
        let ticket = enqueue(&queued, now);
        now += MILLI + MILLI / 2;
        assert_eq!(poll(&queued, ticket, now), None);
        let next = queued.bucket().take(now + MILLI / 2, 1);
        assert!(next.is_ok(), "the token after it is not late");
        now += MILLI / 2;
    }
}

/// The tokens of a call that was admitted and dropped before it was polled return to the queue.
#[test]
fn unused_tokens_return_to_the_queue() {
    let queued = queued(10, 2);
    let now = 1000 * MILLI;
    assert!(queued.bucket().take(now, 2).is_ok());
    let [first, second, third] = [0; 3].map(|_| enqueue(&queued, now));
    let later = now + 205 * MILLI;
    assert_eq!(poll(&queued, third, later), Some(95));
    assert_eq!(poll(&queued, second, later), None);
    queued.leave(first, 1, later);
    assert_eq!(poll(&queued, third, later), None);
    // The token after that is as far away as ever.
    let fourth = enqueue(&queued, later);
    assert_eq!(poll(&queued, fourth, later), Some(95));
}

/// The bucket has been full since, so that there is no refund.
#[test]
fn unused_tokens_of_long_ago_do_not_return() {
    let queued = queued(10, 1);
    let now = 1000 * MILLI;
    assert!(queued.bucket().take(now, 1).is_ok());
    let ticket = enqueue(&queued, now);
    let later = now + 1000 * MILLI;
    assert!(queued.bucket().take(later, 1).is_ok());
    queued.leave(ticket, 1, later);
    assert!(queued.bucket().take(later, 1).is_err());
    assert!(queued.bucket().take(later + 99 * MILLI, 1).is_err());
    assert!(queued.bucket().take(later + 100 * MILLI, 1).is_ok());
}

#[test]
fn waiting_calls_follow_a_change_of_the_quota() {
    let queued = queued(10, 1);
    let now = 1000 * MILLI;
    assert!(queued.bucket().take(now, 1).is_ok());
    let [first, second] = [0; 2].map(|_| enqueue(&queued, now));
    queued.set_quota(
        Quota::per_second(100).unwrap().burst(1).unwrap(),
        now + 50 * MILLI,
    );
    assert_eq!(poll(&queued, first, now + 50 * MILLI), Some(5));
    assert_eq!(poll(&queued, first, now + 55 * MILLI), None);
    assert_eq!(poll(&queued, second, now + 55 * MILLI), Some(10));
    queued.set_quota(
        Quota::per_second(1).unwrap().burst(1).unwrap(),
        now + 60 * MILLI,
    );
    assert_eq!(poll(&queued, second, now + 60 * MILLI), Some(500));
}

#[test]
fn a_cost_at_the_end_delays_later_calls() {
    let queued = queued(10, 1);
    let now = 1000 * MILLI;
    assert!(queued.bucket().take(now, 1).is_ok());
    let first = enqueue(&queued, now);
    queued.charge(now, 100);
    let second = enqueue(&queued, now);
    assert_eq!(poll(&queued, first, now), Some(100));
    assert_eq!(poll(&queued, second, now), Some(300));
    queued.leave(first, 1, now);
    assert_eq!(poll(&queued, second, now), Some(200));
}
