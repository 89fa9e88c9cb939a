//! The adaptive throttle in front of upstreams that accept all, some, or no calls.

use std::time::Duration;

use towerkit_concurrency::AdaptiveThrottleLayer;
use towerkit_core::{
    Call, CallEnd, Clock, Guard, ManualClock, Outcome, Plain, Policy, RejectionReason, Status,
};

use crate::guards::Throttle;

const SECOND: Duration = Duration::from_secs(1);

fn throttle() -> (Throttle, ManualClock) {
    // Seeds the random numbers of this thread, which runs only this test.
    fastrand::seed(9);
    let (clock, clock_control) = Clock::manual();
    (
        Throttle::of(AdaptiveThrottleLayer::new().clock(clock)),
        clock_control,
    )
}

/// Makes a call that ends with `outcome`, and returns true if it was sent.
fn call(throttle: &Throttle, outcome: Outcome) -> bool {
    let protocol = Plain::new("test");
    match throttle.admit(&mut Call::new(&mut (), &protocol)) {
        Ok(sent_call) => {
            throttle.finish(sent_call, &CallEnd::new(outcome));
            true
        }
        Err(rejection) => {
            assert_eq!(rejection.reason(), RejectionReason::Overloaded);
            false
        }
    }
}

#[test]
fn an_upstream_that_accepts_all_calls_receives_all() {
    let (throttle, clock_control) = throttle();
    for _ in 0..10_000 {
        assert!(call(&throttle, Outcome::Success));
        clock_control.advance(SECOND / 50);
    }
    let snapshot = throttle.snapshot();
    assert_eq!(
        (snapshot.rejected, snapshot.rejection_probability),
        (0, 0.0)
    );
}

/// LS-09: at least ten calls and one per second are sent, and about the logarithm of the number of calls on top.
#[test]
fn an_upstream_that_accepts_no_call_receives_the_minimum() {
    let (throttle, clock_control) = throttle();
    let (seconds, a_second) = (600, 1_000);
    let mut sent = 0_u32;
    for _ in 0..seconds * a_second {
        sent += u32::from(call(&throttle, Outcome::Overloaded));
        clock_control.advance(SECOND / a_second);
    }
    // After the first ten, a call is sent with probability 1 / (n + 1), for n calls in the window of 120 s.
    let at_random = 1.2 * (f64::from(120 * a_second).ln() + f64::from(seconds) / 120.0);
    let floor = 10.0 + f64::from(seconds) + at_random;
    assert!(f64::from(sent) <= floor, "sent {sent}, more than {floor}");
    assert!(
        sent >= seconds - 1,
        "sent {sent}: a recovery would go unnoticed"
    );
}

/// LS-09
#[test]
fn an_upstream_receives_at_most_twice_the_calls_that_it_accepts() {
    let (throttle, clock_control) = throttle();
    let (mut sent, mut accepted) = (0_u32, 0_u32);
    for number in 0..600_000 {
        let accepts = number % 2 == 0;
        let outcome = if accepts {
            Outcome::Success
        } else {
            Outcome::Overloaded
        };
        if call(&throttle, outcome) {
            sent += 1;
            accepted += u32::from(accepts);
        }
        clock_control.advance(SECOND / 1_000);
    }
    assert!(
        f64::from(sent) <= 2.01 * f64::from(accepted),
        "{sent} for {accepted}"
    );
}

/// LS-09: an upstream that accepts 500 of 2 000 calls per second.
#[test]
fn an_upstream_receives_at_most_twice_its_capacity() {
    let (throttle, clock_control) = throttle();
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
                // Ignores the first minute, in which the window fills.
                if second >= 60 {
                    sent += 1;
                    accepted += u32::from(left > 0);
                }
                left = i32::max(left - 1, 0);
            }
            clock_control.advance(SECOND / 2_000);
        }
    }
    let multiple = f64::from(sent) / f64::from(accepted);
    assert!((1.9..=2.05).contains(&multiple), "{multiple}");
}

/// LS-09: go-zero counted after the response, so that a burst was sent before the first rejection was known.
#[test]
fn calls_are_counted_before_they_are_sent() {
    let (throttle, _clock_control) = throttle();
    let protocol = Plain::new("test");
    let sent = (0..1_000)
        .filter(|_| throttle.admit(&mut Call::new(&mut (), &protocol)).is_ok())
        .count();
    assert_eq!(throttle.counts().0, 1_000);
    assert!(sent < 40, "{sent} before the first response");
}

/// A response that has begun is an acceptance, however long it takes: open streams are not rejections.
#[test]
fn a_stream_is_accepted_at_its_response_head() {
    let (throttle, clock_control) = throttle();
    let protocol = Plain::new("test");
    let ended = |outcome, code| CallEnd::new(outcome).with_status(Some(Status::Http(code)));
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut sent_call = throttle.admit(&mut Call::new(&mut (), &protocol)).unwrap();
        let of_grpc = CallEnd::new(Outcome::Success).with_open_head();
        let http = ended(Outcome::Success, 200);
        throttle.on_response_head(
            &mut sent_call,
            if open.len() % 2 == 0 { &http } else { &of_grpc },
        );
        open.push(sent_call);
        clock_control.advance(SECOND / 10);
    }
    assert_eq!(throttle.counts(), (100, 100));
    for sent_call in open {
        throttle.finish(
            sent_call,
            &CallEnd::cancelled().with_head_outcome(Some(Outcome::Success)),
        );
    }
    assert_eq!(throttle.counts(), (100, 100), "once");

    let mut sent_call = throttle.admit(&mut Call::new(&mut (), &protocol)).unwrap();
    let pushback = ended(Outcome::Overloaded, 503);
    throttle.on_response_head(&mut sent_call, &pushback);
    throttle.finish(sent_call, &pushback);
    assert_eq!(throttle.counts(), (101, 100));
}

/// The window slides by the elapsed buckets, and not by one per call.
#[test]
fn a_jump_of_time_clears_the_expired_buckets() {
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
        let (throttle, clock_control) = throttle();
        // Advances first, so that the first call is at the start of a bucket.
        for bucket in 0..24 {
            (bucket > 0).then(|| clock_control.advance(BUCKET * SECOND));
            (0..10).for_each(|_| assert!(call(&throttle, Outcome::Success)));
        }
        clock_control.advance(jump * BUCKET * SECOND);
        assert_eq!(
            throttle.counts(),
            (10 * left, 10 * left),
            "after {jump} buckets"
        );
        call(&throttle, Outcome::Success);
        assert_eq!(throttle.counts().0, 10 * left + 1, "after {jump} buckets");
    }
}

#[test]
fn calls_older_than_the_window_are_forgotten() {
    let (throttle, clock_control) = throttle();
    assert!((0..1_000).any(|_| !call(&throttle, Outcome::Overloaded)));
    for _ in 0..1_000 {
        call(&throttle, Outcome::Overloaded);
    }
    assert!(throttle.snapshot().rejection_probability > 0.99);
    clock_control.advance(Duration::from_secs(114));
    assert!(
        throttle.snapshot().rejection_probability > 0.99,
        "still in the window"
    );
    clock_control.advance(Duration::from_secs(6));
    let snapshot = throttle.snapshot();
    assert_eq!((snapshot.rejection_probability, snapshot.calls), (0.0, 0));
    assert!(call(&throttle, Outcome::Success));
    assert_eq!(throttle.counts(), (1, 1));
}

/// The rate of calls sent grows by the factor e in 0.63 windows.
#[test]
fn a_recovered_upstream_receives_all_calls_after_some_windows() {
    fastrand::seed(9);
    let (clock, clock_control) = Clock::manual();
    let window = Duration::from_secs(10);
    let layer = AdaptiveThrottleLayer::new().window(window).unwrap();
    let throttle = Throttle::of(layer.clock(clock));
    for _ in 0..60_000 {
        call(&throttle, Outcome::Overloaded);
        clock_control.advance(SECOND / 1_000);
    }
    let mut seconds = 0.0;
    while throttle.snapshot().rejection_probability > 0.0 {
        call(&throttle, Outcome::Success);
        clock_control.advance(SECOND / 1_000);
        seconds += 0.001;
    }
    // From one call per second to a thousand, and one more window until the last rejection is forgotten.
    let expected = 10.0 * (0.63 * 1_000_f64.ln() + 1.0);
    assert!(seconds < 1.2 * expected, "{seconds} s");
}

#[test]
fn a_clock_that_steps_back_changes_nothing() {
    let (throttle, clock_control) = throttle();
    assert!((0..100).all(|_| call(&throttle, Outcome::Success)));
    clock_control.set(1);
    assert!(call(&throttle, Outcome::Success));
    assert_eq!(throttle.counts(), (101, 101));
}
