use crate::activity::Snapshot;

/// A time since the accept of a connection, or a length of time, in nanoseconds: for 584 years.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;

/// The limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From the first byte of a head to its last; from the accept for the first head.
    pub(crate) head: Nanos,
    /// From the end of the last call to the first byte of the next.
    pub(crate) idle: Nanos,
    /// For [`PROGRESS`] bytes while a response waits for the client to read.
    pub(crate) write: Nanos,
    /// Without a written byte, for the calls of a client that has closed its sending side.
    pub(crate) half_close: Nanos,
    /// The age after which the connection takes no more calls, and the time that its calls then have.
    pub(crate) age: Option<(Nanos, Nanos)>,
    /// The calls that a client may cancel before their responses, while they are most of its calls.
    pub(crate) cancelled: usize,
}

/// A client that reads less than this in the time of a write limit has stalled.
pub(crate) const PROGRESS: u64 = 1024;

/// The time that a connection has to close once it was asked to.
const CLOSE: Nanos = SECOND;

/// The next step for the task of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask again after the next poll, and at this time at the latest.
    Wait(Nanos),
    /// Let the calls in flight end, and begin no more. Then ask again.
    Close,
    /// Drop the connection.
    Cut,
}

/// Measures one connection: which of its limits runs, and since when.
///
/// The times are those since the accept. The timer is asked after each poll of the connection, so that it sees changes when they
/// happen; those of calls over HTTP/2, which are other tasks, it sees a quarter of a limit later at most.
#[derive(Debug)]
pub(crate) struct ConnectionTimer {
    limits: Limits,
    phase: Phase,
    seen: Snapshot,
    blocked: Option<Blocked>,
    /// Since when a half-closed client was sent no byte.
    half_closed: Option<Nanos>,
    closing: Option<Closing>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Waits for the rest of a head.
    Head { since: Nanos },
    /// Has calls in flight, or the rest of a response to write.
    Calls,
    /// Waits for a head.
    Idle { since: Nanos },
}

#[derive(Debug, Clone, Copy)]
struct Blocked {
    since: Nanos,
    written: u64,
}

/// A connection that was asked to close.
#[derive(Debug, Clone, Copy)]
struct Closing {
    cut_at: Nanos,
    /// Cut it off at that time even if it has calls: those that were on their way still came.
    with_calls: bool,
}

/// The shortest time between two looks, however small the limits are.
const SHORTEST_LOOK: Nanos = SECOND / 100;

/// No connection is older.
const NEVER: Nanos = Nanos::MAX;

impl ConnectionTimer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Head { since: 0 },
            seen: Snapshot::default(),
            blocked: None,
            half_closed: None,
            closing: None,
        }
    }

    /// Begins the end of the connection, which the shutdown has asked to close.
    pub(crate) fn close(&mut self, now: Nanos) {
        self.closing.get_or_insert(Closing {
            cut_at: now.saturating_add(CLOSE),
            with_calls: false,
        });
    }

    pub(crate) fn update(&mut self, now: Nanos, seen: Snapshot) -> Step {
        if seen.tunneled {
            return Step::Wait(NEVER);
        }
        self.phase = self.next_phase(now, &seen);
        self.update_blocked(now, &seen);
        if seen.half_closed && (self.half_closed.is_none() || seen.written != self.seen.written) {
            // A client that is gone resets the connection once it is written to.
            self.half_closed = Some(now);
        }
        self.seen = seen;
        self.step(now)
    }

    fn next_phase(&self, now: Nanos, seen: &Snapshot) -> Phase {
        let idle = Phase::Idle { since: now };
        match self.phase {
            _ if seen.is_busy() => Phase::Calls,
            Phase::Calls => idle,
            // Calls came and went since the last update.
            _ if seen.begun != self.seen.begun => idle,
            // The preface is whole. Pings and settings may follow for as long as the client likes, and begin no head.
            Phase::Head { .. } if seen.http2 => idle,
            Phase::Idle { .. } if seen.reads != self.seen.reads && !seen.http2 => {
                Phase::Head { since: now }
            }
            phase => phase,
        }
    }

    fn update_blocked(&mut self, now: Nanos, seen: &Snapshot) {
        self.blocked = (seen.blocked && seen.streams == 0).then(|| match self.blocked {
            // A client that takes a byte now and then makes no progress.
            Some(blocked) if seen.written - blocked.written < PROGRESS => blocked,
            _ => Blocked {
                since: now,
                written: seen.written,
            },
        });
    }

    fn step(&mut self, now: Nanos) -> Step {
        let cut_at = self.cut_at();
        if now >= cut_at {
            return Step::Cut;
        }
        let mut wait = cut_at.min(self.look_at(now));
        if self.closing.is_none() {
            let close_at = self.close_at();
            if now >= close_at {
                self.closing = Some(Closing {
                    cut_at: now.saturating_add(CLOSE),
                    with_calls: self.is_abused(),
                });
                return Step::Close;
            }
            wait = wait.min(close_at);
        }
        Step::Wait(wait)
    }

    /// Returns the time at which the connection is cut off, if nothing changes.
    fn cut_at(&self) -> Nanos {
        let is_busy = self.seen.is_busy();
        let head = match self.phase {
            Phase::Head { since } => since.saturating_add(self.limits.head),
            _ => NEVER,
        };
        let write = self.blocked.map_or(NEVER, |blocked| {
            blocked.since.saturating_add(self.limits.write)
        });
        let half_closed = match self.half_closed {
            Some(since) if is_busy => since.saturating_add(self.limits.half_close),
            _ => NEVER,
        };
        let closing = match (self.closing, self.phase) {
            (Some(closing), _) if closing.with_calls => closing.cut_at,
            // After the last call, its response has the time to be written.
            (Some(closing), Phase::Head { since } | Phase::Idle { since }) if !is_busy => {
                closing.cut_at.max(since.saturating_add(CLOSE))
            }
            _ => NEVER,
        };
        let age = self
            .limits
            .age
            .map_or(NEVER, |(age, grace)| age.saturating_add(grace));
        head.min(write).min(half_closed).min(closing).min(age)
    }

    /// Returns the time at which the connection is asked to close, if nothing changes.
    fn close_at(&self) -> Nanos {
        // The last call of a half-closed connection has ended, and its response is written.
        let is_done = self.half_closed.is_some() && !self.seen.is_busy();
        if is_done || self.is_abused() {
            return 0;
        }
        let idle = match self.phase {
            Phase::Idle { since } => since.saturating_add(self.limits.idle),
            _ => NEVER,
        };
        idle.min(self.limits.age.map_or(NEVER, |(age, _)| age))
    }

    /// Returns true if many calls, and most of them, were cancelled: Envoy's rule for premature resets (CVE-2023-44487).
    fn is_abused(&self) -> bool {
        let Snapshot {
            cancelled, begun, ..
        } = self.seen;
        cancelled >= self.limits.cancelled && cancelled > begun / 2
    }

    /// Returns the time at which to look for the ends of calls, which may not wake the task of the connection.
    fn look_at(&self, now: Nanos) -> Nanos {
        match self.phase {
            Phase::Calls => {
                let limit = self.limits.idle.min(self.limits.write);
                now.saturating_add((limit / 4).max(SHORTEST_LOOK))
            }
            _ => NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        head: 10 * SECOND,
        idle: 60 * SECOND,
        write: 30 * SECOND,
        half_close: 5 * SECOND,
        age: None,
        cancelled: 500,
    };

    fn secs(secs: u64) -> Nanos {
        secs * SECOND
    }

    fn timer() -> ConnectionTimer {
        ConnectionTimer::new(LIMITS)
    }

    /// A connection with `begun` calls, of which `in_flight` have not ended, after as many reads.
    fn calls(begun: usize, in_flight: usize) -> Snapshot {
        Snapshot {
            reads: begun as u64,
            begun,
            in_flight,
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_first_head_has_its_limit_from_the_accept() {
        let mut timer = timer();
        let drip = |reads| Snapshot {
            reads,
            ..Snapshot::default()
        };
        assert_eq!(timer.update(secs(0), drip(0)), Step::Wait(secs(10)));
        assert_eq!(timer.update(secs(9), drip(7)), Step::Wait(secs(10)));
        assert_eq!(timer.update(secs(10), drip(8)), Step::Cut);
    }

    #[test]
    fn a_later_head_has_its_limit_from_its_first_byte() {
        let mut timer = timer();
        assert_eq!(timer.update(secs(1), calls(1, 0)), Step::Wait(secs(61)));
        let half = Snapshot {
            reads: 2,
            ..calls(1, 0)
        };
        assert_eq!(timer.update(secs(50), half), Step::Wait(secs(60)));
        assert_eq!(timer.update(secs(60), half), Step::Cut);
    }

    #[test]
    fn an_idle_connection_is_closed_and_then_cut_off() {
        let mut timer = timer();
        timer.update(secs(1), calls(1, 0));
        assert_eq!(timer.update(secs(61), calls(1, 0)), Step::Close);
        assert_eq!(timer.update(secs(61), calls(1, 0)), Step::Wait(secs(62)));
        assert_eq!(timer.update(secs(62), calls(1, 0)), Step::Cut);
    }

    #[test]
    fn a_call_that_comes_while_an_idle_connection_closes_is_served() {
        let mut timer = timer();
        timer.update(secs(1), calls(1, 0));
        assert_eq!(timer.update(secs(61), calls(1, 0)), Step::Close);
        assert_ne!(timer.update(secs(70), calls(2, 1)), Step::Cut);
        assert_eq!(timer.update(secs(90), calls(2, 0)), Step::Wait(secs(91)));
        assert_eq!(timer.update(secs(91), calls(2, 0)), Step::Cut);
    }

    /// A client that answers no ping must not hold the shutdown up.
    #[test]
    fn a_connection_without_calls_is_cut_off_soon_after_the_shutdown_begins() {
        let mut timer = timer();
        timer.update(secs(1), calls(1, 1));
        timer.close(secs(5));
        assert_ne!(timer.update(secs(20), calls(1, 1)), Step::Cut);
        assert_eq!(timer.update(secs(21), calls(1, 0)), Step::Wait(secs(22)));
        assert_eq!(timer.update(secs(22), calls(1, 0)), Step::Cut);
    }

    #[test]
    fn a_connection_with_calls_has_no_limit_but_those_of_writes() {
        let mut timer = timer();
        for hour in 0..24 {
            let step = timer.update(secs(hour * 3600), calls(1, 1));
            assert!(matches!(step, Step::Wait(_)), "{step:?}");
        }
    }

    #[test]
    fn pings_over_http2_keep_no_idle_connection_open() {
        let mut timer = timer();
        let ping = |reads| Snapshot {
            reads,
            http2: true,
            ..Snapshot::default()
        };
        for second in 0..60 {
            let step = timer.update(secs(second), ping(second));
            assert_eq!(step, Step::Wait(secs(60)));
        }
        assert_eq!(timer.update(secs(60), ping(60)), Step::Close);
    }

    #[test]
    fn a_reader_that_stalls_or_drips_is_cut_off() {
        let mut timer = timer();
        let blocked = |written| Snapshot {
            blocked: true,
            written,
            ..calls(1, 1)
        };
        timer.update(secs(0), blocked(100_000));
        timer.update(secs(29), blocked(101_023));
        assert_eq!(timer.update(secs(30), blocked(101_023)), Step::Cut);
    }

    #[test]
    fn a_slow_reader_that_makes_progress_is_served() {
        let mut timer = timer();
        for minute in 0..60 {
            let blocked = Snapshot {
                blocked: true,
                written: minute * PROGRESS,
                ..calls(1, 1)
            };
            assert_ne!(timer.update(secs(minute * 29), blocked), Step::Cut);
        }
    }

    #[test]
    fn an_event_stream_may_be_blocked_for_as_long_as_it_likes() {
        let mut timer = timer();
        let stream = Snapshot {
            blocked: true,
            streams: 1,
            ..calls(1, 1)
        };
        timer.update(secs(0), stream);
        assert_ne!(timer.update(secs(3600), stream), Step::Cut);
    }

    #[test]
    fn a_half_closed_client_has_its_time_for_the_response() {
        let half_closed = |in_flight, blocked, written| Snapshot {
            half_closed: true,
            blocked,
            written,
            ..calls(1, in_flight)
        };
        let mut late = timer();
        let step = late.update(secs(1), half_closed(1, false, 0));
        assert_eq!(step, Step::Wait(secs(6)));
        assert_eq!(late.update(secs(6), half_closed(1, false, 0)), Step::Cut);

        let mut early = timer();
        early.update(secs(1), half_closed(1, false, 0));
        let step = early.update(secs(5), half_closed(0, true, 1));
        assert_eq!(step, Step::Wait(secs(10)));
        assert_eq!(early.update(secs(9), half_closed(0, false, 2)), Step::Close);
    }

    #[test]
    fn the_rest_of_a_response_is_not_idle() {
        let mut timer = timer();
        for minute in 0..10 {
            let rest = Snapshot {
                blocked: true,
                written: minute * PROGRESS,
                ..calls(1, 0)
            };
            let step = timer.update(secs(minute * 29), rest);
            assert!(matches!(step, Step::Wait(_)), "{step:?}");
        }
    }

    #[test]
    fn an_old_connection_is_closed_and_its_calls_are_cut_off_after_the_grace() {
        let mut timer = ConnectionTimer::new(Limits {
            age: Some((secs(100), secs(20))),
            ..LIMITS
        });
        timer.update(secs(99), calls(1, 1));
        assert_eq!(timer.update(secs(100), calls(1, 1)), Step::Close);
        assert_ne!(timer.update(secs(119), calls(1, 1)), Step::Cut);
        assert_eq!(timer.update(secs(120), calls(1, 1)), Step::Cut);
    }

    #[test]
    fn a_client_that_cancels_most_of_many_calls_is_cut_off() {
        let cancelled = |begun, cancelled| Snapshot {
            cancelled,
            ..calls(begun, 100)
        };
        let mut busy = timer();
        assert_ne!(busy.update(secs(1), cancelled(10_000, 5_000)), Step::Close);
        let mut few = timer();
        assert_ne!(few.update(secs(1), cancelled(499, 499)), Step::Close);
        let mut abused = timer();
        assert_eq!(abused.update(secs(1), cancelled(900, 500)), Step::Close);
        assert_eq!(abused.update(secs(2), cancelled(900, 500)), Step::Cut);
    }

    #[test]
    fn an_upgraded_connection_has_no_limits() {
        let mut timer = ConnectionTimer::new(Limits {
            age: Some((secs(1), secs(1))),
            ..LIMITS
        });
        let upgraded = Snapshot {
            tunneled: true,
            ..calls(1, 0)
        };
        assert_eq!(timer.update(secs(10_000), upgraded), Step::Wait(NEVER));
    }

    /// A change of a connection: how long after the last, and its kind.
    fn changes() -> impl Strategy<Value = Vec<(u64, u8)>> {
        prop::collection::vec((0..40_u64, 0..5_u8), 1..60)
    }

    proptest! {
        /// The task sleeps until the time of `Step::Wait`, so that time has to be in the future, and a connection on which nothing
        /// happens has to end then.
        #[test]
        fn a_silent_connection_without_calls_ends(changes in changes()) {
            let mut timer = timer();
            let (mut now, mut seen) = (secs(0), Snapshot::default());
            for (pause, kind) in changes {
                now += secs(pause);
                match kind {
                    0 => seen.reads += 1,
                    1 => (seen.begun, seen.in_flight) = (seen.begun + 1, seen.in_flight + 1),
                    2 => seen.in_flight = seen.in_flight.saturating_sub(1),
                    3 => seen.blocked = !seen.blocked,
                    _ => seen.http2 |= seen.begun == 0,
                }
                if let Step::Wait(until) = timer.update(now, seen) {
                    prop_assert!(until > now);
                }
            }
            seen.in_flight = 0;
            let silent = now;
            loop {
                match timer.update(now, seen) {
                    Step::Wait(until) => {
                        prop_assert!(until > now);
                        now = until;
                    }
                    Step::Close => {}
                    Step::Cut => break,
                }
                let longest = LIMITS.idle + LIMITS.head + CLOSE;
                prop_assert!(now - silent <= longest, "open after {} ns", now - silent);
            }
        }
    }
}
