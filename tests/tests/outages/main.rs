//! LG-05, and its like for spans and metrics: while all who are told are away, silent or killed, no call fails, none waits, memory stays
//! what it is, and what is lost is counted.
//!
//! A process of its own, since it measures the memory of the whole of it.

mod load;
mod receivers;
mod telemetry;

use std::{fs, time::Duration};

use load::{poll, serve};
use receivers::{Kind, Receivers};
use telemetry::{Telemetry, eventually};

/// Most that memory may grow by in a run, in bytes: the queues, and what an allocator keeps.
const GROWTH: usize = 48 << 20;

/// After which a receiver is given up that does not answer.
const SOON: Duration = Duration::from_millis(100);

/// The same where nobody may be given up, or waited for.
const NEVER: Duration = Duration::from_secs(3600);

/// Returns the bytes of memory that the process holds.
fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Puts a service that tells these receivers of everything under load.
fn check(kind: Kind) {
    let receivers = Receivers::start(kind);
    let telemetry = Telemetry::start(&receivers, SOON);
    let before = memory();
    serve(telemetry.service(), || {
        if kind == Kind::Killed {
            eventually("all are told", || telemetry.has_told_all());
            receivers.kill();
        }
    });
    let growth = memory().saturating_sub(before);
    assert!(growth < GROWTH, "{kind:?}: {growth} bytes");
    telemetry.check(kind);
}

/// One after the other, since they measure.
#[test]
fn receivers_that_are_away_silent_full_or_killed_make_no_call_fail() {
    for kind in [Kind::Away, Kind::Silent, Kind::Full, Kind::Killed] {
        check(kind);
    }
}

/// Whoever waited for a receiver here would wait for an hour: that is how a machine of any speed shows that nobody does.
#[test]
fn receivers_that_never_answer_hold_up_no_call() {
    let receivers = Receivers::start(Kind::Silent);
    let telemetry = Telemetry::start(&receivers, NEVER);
    let service = telemetry.service();
    // More than fills every queue, also while its thread hangs in what it sends.
    for _ in 0..10 {
        poll(&service, 1000);
    }
    eventually("spans are lost", || {
        poll(&service, 100);
        telemetry.loses_spans_and_lines()
    });
    telemetry.shut_down();
}
