//! LG-05, and the same for spans and metrics: while all receivers are unreachable, silent or killed, no call fails or waits, memory is
//! bounded, and losses are counted.
//!
//! A separate binary, because it measures the memory of the process.

mod load;
mod receivers;
mod telemetry;

use std::{fs, time::Duration};

use load::{poll, serve};
use receivers::{Kind, Receivers};
use telemetry::{Telemetry, eventually};

/// The highest growth of memory in a run, in bytes: the queues, and the free memory of the allocator.
const GROWTH: usize = 48 << 20;

/// The timeout for receivers that do not answer.
const SOON: Duration = Duration::from_millis(100);

/// A timeout that no test reaches.
const NEVER: Duration = Duration::from_secs(3600);

/// Returns the memory of the process in bytes.
fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Loads a service that exports to these receivers.
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

/// One after the other, because they measure memory.
#[test]
fn receivers_that_are_unreachable_silent_full_or_killed_fail_no_call() {
    for kind in [Kind::Away, Kind::Silent, Kind::Full, Kind::Killed] {
        check(kind);
    }
}

/// A call that waited for a receiver would wait for an hour, which the test detects on a machine of any speed.
#[test]
fn receivers_that_never_answer_delay_no_call() {
    let receivers = Receivers::start(Kind::Silent);
    let telemetry = Telemetry::start(&receivers, NEVER);
    let service = telemetry.service();
    // Enough to fill every queue while its thread blocks in an export.
    for _ in 0..10 {
        poll(&service, 1000);
    }
    eventually("spans are lost", || {
        poll(&service, 100);
        telemetry.loses_spans_and_lines()
    });
    telemetry.shut_down();
}
