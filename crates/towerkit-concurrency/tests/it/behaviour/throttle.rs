//! The adaptive throttle against callees that accept all, some and none of the calls.

use std::time::Duration;

use towerkit_concurrency::AdaptiveThrottleLayer;
use towerkit_core::{
    Call, CallEnd, Clock, Guard, ManualClock, Outcome, Plain, Policy, RejectionReason, Status,
};

use crate::guards::Throttle;

const SECOND: Duration = Duration::from_secs(1);

fn throttle() -> (Throttle, ManualClock) {
    // The random numbers of this thread, which is the test's own.
    fastrand::seed(9);
    let (clock, hand) = Clock::manual();
    (
        Throttle::of(AdaptiveThrottleLayer::new().clock(clock)),
        hand,
    )
}

/// Makes a call that ends with `outcome` if it is sent, and returns whether it was.
fn call(throttle: &Throttle, outcome: Outcome) -> bool {
    let protocol = Plain::new("test");
    match throttle.admit(&mut Call::new(&mut (), &protocol)) {
        Ok(held) => {
            throttle.finish(held, &CallEnd::new(outcome));
            true
        }
        Err(rejection) => {
            assert_eq!(rejection.reason(), RejectionReason::Overloaded);
            false
        }
    }
}

#[test]
fn a_callee_that_accepts_all_is_sent_all() {
    let (throttle, hand) = throttle();
    for _ in 0..10_000 {
        assert!(call(&throttle, Outcome::Success));
        hand.advance(SECOND / 50);
    }
    assert_eq!((throttle.rejected(), throttle.rejection_rate()), (0, 0.0));
}

/// LS-09: the documented floor is ten calls, one a second, and the natural logarithm of the number of calls.
#[test]
fn a_callee_that_accepts_nothing_is_sent_the_floor() {
    let (throttle, hand) = throttle();
    let (seconds, a_second) = (600, 1_000);
    let mut sent = 0_u32;
    for _ in 0..seconds * a_second {
        sent += u32::from(call(&throttle, Outcome::Overloaded));
        hand.advance(SECOND / a_second);
    }
    // Above the first ten a call is sent with probability 1 / (n + 1), where n are those in the window of 120 s.
    let at_random = 1.2 * (f64::from(120 * a_second).ln() + f64::from(seconds) / 120.0);
    let floor = 10.0 + f64::from(seconds) + at_random;
    assert!(f64::from(sent) <= floor, "sent {sent}, more than {floor}");
    assert!(
        sent >= seconds - 1,
        "sent {sent}: a recovery would not be seen"
    );
}

/// LS-09
#[test]
fn a_callee_that_accepts_half_is_sent_twice_what_it_accepts() {
    let (throttle, hand) = throttle();
    let (mut sent, mut accepted) = (0_u32, 0_u32);
    for turn in 0..600_000 {
        let accepts = turn % 2 == 0;
        let outcome = if accepts {
            Outcome::Success
        } else {
            Outcome::Overloaded
        };
        if call(&throttle, outcome) {
            sent += 1;
            accepted += u32::from(accepts);
        }
        hand.advance(SECOND / 1_000);
    }
    assert!(
        f64::from(sent) <= 2.01 * f64::from(accepted),
        "{sent} for {accepted}"
    );
}

/// LS-09: a callee that takes 500 of 2 000 calls a second.
#[test]
fn a_callee_is_sent_twice_its_capacity_at_most() {
    let (throttle, hand) = throttle();
    let (mut sent, mut accepted) = (0, 0);
    for second in 0..300 {
        let mut left = 500;
        for _ in 0..2_000 {
            let outcome = if left > 0 {
                Outcome::Success
            } else {
                Outcome::Overloaded
            };
            if call(&throttle, outcome) {
                // The first minute is still without a full window.
                if second >= 60 {
                    sent += 1;
                    accepted += u32::from(left > 0);
                }
                left = i32::max(left - 1, 0);
            }
            hand.advance(SECOND / 2_000);
        }
    }
    let multiple = f64::from(sent) / f64::from(accepted);
    assert!((1.9..=2.05).contains(&multiple), "{multiple}");
}

/// LS-09: go-zero counted after the answer, so that a burst went out before the first rejection was known.
#[test]
fn calls_are_counted_before_they_are_sent() {
    let (throttle, _hand) = throttle();
    let protocol = Plain::new("test");
    let sent = (0..1_000)
        .filter(|_| throttle.admit(&mut Call::new(&mut (), &protocol)).is_ok())
        .count();
    assert_eq!(throttle.calls(), 1_000);
    assert!(sent < 40, "{sent} without a single answer");
}

/// A callee that has begun to answer has accepted the call, however long the answer is: open streams are not rejections.
#[test]
fn a_stream_is_accepted_when_its_head_is_there() {
    let (throttle, hand) = throttle();
    let protocol = Plain::new("test");
    let answered = |outcome, code| CallEnd::new(outcome).with_status(Some(Status::Http(code)));
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut held = throttle.admit(&mut Call::new(&mut (), &protocol)).unwrap();
        let of_grpc = CallEnd::new(Outcome::Success).with_open_head();
        let http = answered(Outcome::Success, 200);
        throttle.on_response_head(
            &mut held,
            if open.len() % 2 == 0 { &http } else { &of_grpc },
        );
        open.push(held);
        hand.advance(SECOND / 10);
    }
    assert_eq!((throttle.calls(), throttle.accepted()), (100, 100));
    for held in open {
        throttle.finish(
            held,
            &CallEnd::cancelled().with_head_outcome(Some(Outcome::Success)),
        );
    }
    assert_eq!((throttle.calls(), throttle.accepted()), (100, 100), "once");

    let mut held = throttle.admit(&mut Call::new(&mut (), &protocol)).unwrap();
    let pushback = answered(Outcome::Overloaded, 503);
    throttle.on_response_head(&mut held, &pushback);
    throttle.finish(held, &pushback);
    assert_eq!((throttle.calls(), throttle.accepted()), (101, 100));
}

/// The window slides by as many buckets as have passed, and not by one a call.
#[test]
fn a_jump_of_time_forgets_what_has_left_the_window() {
    const BUCKET: u32 = 5;
    let hour = 3_600 / BUCKET;
    for (jump, left) in [
        (0, 24),
        (1, 23),
        (2, 22),
        (23, 1),
        (24, 0),
        (25, 0),
        (hour, 0),
    ] {
        let (throttle, hand) = throttle();
        // So that the first call is at the beginning of a bucket.
        for bucket in 0..24 {
            (bucket > 0).then(|| hand.advance(BUCKET * SECOND));
            (0..10).for_each(|_| assert!(call(&throttle, Outcome::Success)));
        }
        hand.advance(jump * BUCKET * SECOND);
        let counted = (throttle.calls(), throttle.accepted());
        assert_eq!(counted, (10 * left, 10 * left), "after {jump} buckets");
        call(&throttle, Outcome::Success);
        assert_eq!(throttle.calls(), 10 * left + 1, "after {jump} buckets");
    }
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let (throttle, hand) = throttle();
    assert!((0..1_000).any(|_| !call(&throttle, Outcome::Overloaded)));
    for _ in 0..1_000 {
        call(&throttle, Outcome::Overloaded);
    }
    assert!(throttle.rejection_rate() > 0.99);
    hand.advance(Duration::from_secs(114));
    assert!(throttle.rejection_rate() > 0.99, "still in the window");
    hand.advance(Duration::from_secs(6));
    assert_eq!((throttle.rejection_rate(), throttle.calls()), (0.0, 0));
    assert!(call(&throttle, Outcome::Success));
    assert_eq!((throttle.calls(), throttle.accepted()), (1, 1));
}

/// The rate of calls sent grows by the factor e in 0.63 windows.
#[test]
fn a_recovered_callee_is_sent_all_after_some_windows() {
    fastrand::seed(9);
    let (clock, hand) = Clock::manual();
    let window = Duration::from_secs(10);
    let layer = AdaptiveThrottleLayer::new().window(window).unwrap();
    let throttle = Throttle::of(layer.clock(clock));
    for _ in 0..60_000 {
        call(&throttle, Outcome::Overloaded);
        hand.advance(SECOND / 1_000);
    }
    let mut seconds = 0.0;
    while throttle.rejection_rate() > 0.0 {
        call(&throttle, Outcome::Success);
        hand.advance(SECOND / 1_000);
        seconds += 0.001;
    }
    // From one call a second to a thousand, and one window more until the last rejection is forgotten.
    let expected = 10.0 * (0.63 * 1_000_f64.ln() + 1.0);
    assert!(seconds < 1.2 * expected, "{seconds} s");
}

#[test]
fn a_clock_that_steps_back_changes_nothing() {
    let (throttle, hand) = throttle();
    assert!((0..100).all(|_| call(&throttle, Outcome::Success)));
    hand.set(1);
    assert!(call(&throttle, Outcome::Success));
    assert_eq!((throttle.calls(), throttle.accepted()), (101, 101));
}
