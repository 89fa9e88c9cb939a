//! The line beside a model that works out every call's turn anew from the whole history.

use std::{task::Waker, time::Duration};

use proptest::prelude::*;

use super::delayed::{Delayed, Joined, Patience};
use crate::Quota;

const MILLI: u64 = 1_000_000;

/// A call as the model remembers it: when it came, what it costs, its number in the line if it had to wait.
#[derive(Debug, Clone, Copy)]
struct Came {
    at: i128,
    cost: u32,
    number: Option<u64>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waits,
    Went,
    /// Gave up while it waited, as if it had never come.
    Left,
}

struct Model {
    interval: i128,
    burst: i128,
    history: Vec<Came>,
}

impl Model {
    /// When each call of the history is due that did not give up, as (index, due), and where the bucket is empty after all of them.
    fn turns(&self) -> (Vec<(usize, i128)>, i128) {
        let mut empty = i128::MIN / 2;
        let mut turns = Vec::new();
        for (i, came) in self.history.iter().enumerate() {
            if came.state != State::Left {
                empty = empty.max(came.at - self.burst * self.interval);
                empty += i128::from(came.cost) * self.interval;
                turns.push((i, empty));
            }
        }
        (turns, empty)
    }

    fn due_of_newcomer(&self, now: i128, cost: u32) -> i128 {
        let (_, empty) = self.turns();
        empty.max(now - self.burst * self.interval) + i128::from(cost) * self.interval
    }

    /// Those who wait, in order, with the time of their turn.
    fn waiting(&self) -> Vec<(usize, i128)> {
        let (mut turns, _) = self.turns();
        turns.retain(|(i, _)| self.history[*i].state == State::Waits);
        turns
    }
}

struct Both {
    real: Delayed,
    model: Model,
    now: u64,
}

const PATIENCE: Patience = Patience {
    longest: Duration::from_secs(1),
    calls: 5,
};

impl Both {
    fn new(interval: u64, burst: u32) -> Self {
        let quota = Quota::new(1, Duration::from_nanos(interval)).unwrap();
        Self {
            real: Delayed::new(quota.burst(burst).unwrap()),
            model: Model {
                interval: interval.into(),
                burst: burst.into(),
                history: Vec::new(),
            },
            now: 10_000 * MILLI,
        }
    }

    fn arrive(&mut self, cost: u32) {
        let due = self.model.due_of_newcomer(self.now.into(), cost);
        let wait = due - i128::from(self.now);
        let is_full = self.model.waiting().len() >= PATIENCE.calls;
        let taken = self.real.bucket().take(self.now, cost).is_ok();
        assert_eq!(taken, wait <= 0, "admitted at once");
        let (state, number) = if taken {
            (State::Went, None)
        } else {
            match self.real.join(self.now, cost, PATIENCE, Duration::MAX) {
                Joined::Waits(number) => {
                    assert!(!is_full && wait <= PATIENCE.longest.as_nanos() as i128);
                    (State::Waits, Some(number))
                }
                Joined::Admitted => panic!("tokens out of nowhere"),
                Joined::Rejected(_) => {
                    assert!(is_full || wait > PATIENCE.longest.as_nanos() as i128);
                    return;
                }
            }
        };
        self.model.history.push(Came {
            at: self.now.into(),
            cost,
            number,
            state,
        });
    }

    fn leave(&mut self, which: usize) {
        let waiting = self.model.waiting();
        if waiting.is_empty() {
            return;
        }
        let (i, _) = waiting[which % waiting.len()];
        let came = &mut self.model.history[i];
        came.state = State::Left;
        let number = came.number.expect("it waits");
        self.real.leave(number, came.cost, self.now);
        self.go();
    }

    /// Lets time pass, in which everybody looks when it is time.
    fn pass(&mut self, time: u64) {
        let end = self.now + time;
        while let Some((_, due)) = self.model.waiting().first().copied() {
            if due > i128::from(end) {
                break;
            }
            self.now = self.now.max(due as u64);
            self.go();
        }
        self.now = end;
        self.go();
    }

    /// Lets all go whose turn it is, and compares.
    fn go(&mut self) {
        let now = i128::from(self.now);
        for (place, (i, due)) in self.model.waiting().into_iter().enumerate() {
            let number = self.model.history[i].number.expect("it waits");
            let wait = self.real.look(number, self.now, Waker::noop());
            let left = wait.map(|wait| wait.as_nanos() as i128);
            if due <= now {
                assert_eq!(left, None, "its turn");
                self.model.history[i].state = State::Went;
            } else if place == 0 {
                assert_eq!(left, Some(due - now), "the first in line");
            } else {
                assert!(left.is_some_and(|left| left >= due - now), "further back");
            }
        }
        assert_eq!(self.real.waiting(), self.model.waiting().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-08: everybody goes at the time at which it would have gone had those never come that gave up.
    #[test]
    fn who_gives_up_passes_the_turn_on(
        interval in 1..20u64,
        burst in 1..5u32,
        steps in prop::collection::vec((0..10u32, 1..5u32, 0..40 * MILLI), 1..40),
    ) {
        let mut both = Both::new(interval * MILLI, burst);
        for (kind, cost, size) in steps {
            match kind {
                0..5 => both.arrive(cost.min(burst)),
                5..7 => both.leave(size as usize),
                _ => both.pass(size),
            }
        }
        both.pass(10_000 * MILLI);
        assert_eq!(both.real.waiting(), 0);
    }
}

fn delayed(count: u32, burst: u32) -> Delayed {
    Delayed::new(Quota::per_second(count).unwrap().burst(burst).unwrap())
}

fn wait(delayed: &Delayed, now: u64) -> u64 {
    match delayed.join(now, 1, PATIENCE, Duration::MAX) {
        Joined::Waits(number) => number,
        other => panic!("{other:?}"),
    }
}

fn waits(delayed: &Delayed, number: u64, now: u64) -> Option<u64> {
    let wait = delayed.look(number, now, Waker::noop())?;
    Some(wait.as_nanos() as u64 / MILLI)
}

/// RL-14: after a stopped process goes on, those who waited do not all go at once.
#[test]
fn whoever_could_not_look_in_time_is_put_off() {
    let delayed = delayed(10, 2);
    let now = 1000 * MILLI;
    assert!(delayed.bucket().take(now, 2).is_ok());
    let numbers: Vec<_> = (0..5).map(|_| wait(&delayed, now)).collect();
    let later = now + 3000 * MILLI;
    let went = numbers
        .iter()
        .filter(|n| waits(&delayed, **n, later).is_none());
    assert_eq!(went.count(), 2);
    // Ten milliseconds late are forgiven.
    assert_eq!(waits(&delayed, numbers[2], later), Some(90));
    assert_eq!(waits(&delayed, numbers[2], later + 90 * MILLI), None);
    assert_eq!(waits(&delayed, numbers[3], later + 90 * MILLI), Some(100));
    assert!(delayed.bucket().take(later + 190 * MILLI, 1).is_err());
}

/// A timer that is late by a tick costs nothing: the next token is not late.
#[test]
fn a_tick_is_not_lost() {
    let delayed = delayed(1000, 1);
    let mut now = 1000 * MILLI;
    assert!(delayed.bucket().take(now, 1).is_ok());
    for _ in 0..1000 {
        // Half a millisecond late, every time.
        let number = wait(&delayed, now);
        now += MILLI + MILLI / 2;
        assert_eq!(waits(&delayed, number, now), None);
        let next = delayed.bucket().take(now + MILLI / 2, 1);
        assert!(next.is_ok(), "the token after it is not late");
        now += MILLI / 2;
    }
}

/// What was let go by another and then dropped without a look comes back to those who wait.
#[test]
fn a_turn_that_is_not_taken_comes_back() {
    let delayed = delayed(10, 2);
    let now = 1000 * MILLI;
    assert!(delayed.bucket().take(now, 2).is_ok());
    let [first, second, third] = [0; 3].map(|_| wait(&delayed, now));
    let later = now + 205 * MILLI;
    assert_eq!(waits(&delayed, third, later), Some(95));
    assert_eq!(waits(&delayed, second, later), None);
    delayed.leave(first, 1, later);
    assert_eq!(waits(&delayed, third, later), None);
    // The token after that is as far away as ever.
    let fourth = wait(&delayed, later);
    assert_eq!(waits(&delayed, fourth, later), Some(95));
}

/// The bucket has been full since: then there is nothing to give back.
#[test]
fn a_turn_that_was_long_ago_does_not_come_back() {
    let delayed = delayed(10, 1);
    let now = 1000 * MILLI;
    assert!(delayed.bucket().take(now, 1).is_ok());
    let number = wait(&delayed, now);
    let later = now + 1000 * MILLI;
    assert!(delayed.bucket().take(later, 1).is_ok());
    delayed.leave(number, 1, later);
    assert!(delayed.bucket().take(later, 1).is_err());
    assert!(delayed.bucket().take(later + 99 * MILLI, 1).is_err());
    assert!(delayed.bucket().take(later + 100 * MILLI, 1).is_ok());
}

#[test]
fn those_who_wait_follow_a_change_of_the_quota() {
    let delayed = delayed(10, 1);
    let now = 1000 * MILLI;
    assert!(delayed.bucket().take(now, 1).is_ok());
    let [first, second] = [0; 2].map(|_| wait(&delayed, now));
    delayed.change_quota(
        Quota::per_second(100).unwrap().burst(1).unwrap(),
        now + 50 * MILLI,
    );
    assert_eq!(waits(&delayed, first, now + 50 * MILLI), Some(5));
    assert_eq!(waits(&delayed, first, now + 55 * MILLI), None);
    assert_eq!(waits(&delayed, second, now + 55 * MILLI), Some(10));
    delayed.change_quota(
        Quota::per_second(1).unwrap().burst(1).unwrap(),
        now + 60 * MILLI,
    );
    assert_eq!(waits(&delayed, second, now + 60 * MILLI), Some(500));
}

#[test]
fn a_cost_at_the_end_puts_off_those_who_come_after_it() {
    let delayed = delayed(10, 1);
    let now = 1000 * MILLI;
    assert!(delayed.bucket().take(now, 1).is_ok());
    let first = wait(&delayed, now);
    delayed.charge(now, 100);
    let second = wait(&delayed, now);
    assert_eq!(waits(&delayed, first, now), Some(100));
    assert_eq!(waits(&delayed, second, now), Some(300));
    delayed.leave(first, 1, now);
    assert_eq!(waits(&delayed, second, now), Some(200));
}
