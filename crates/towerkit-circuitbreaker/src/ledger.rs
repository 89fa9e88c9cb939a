use std::sync::OnceLock;

use crate::{
    CountAs, OpenWhen, Window,
    count_window::CountWindow,
    counts::Counts,
    epoch::Epoch,
    in_flight::InFlight,
    limit::Limit,
    mark::{self, Mark},
    open_when::Kind,
    streak::Streak,
    sync::{AtomicU32, AtomicU64, Ordering},
    time_window::TimeWindow,
};

/// The results of one epoch, counted as the conditions of the breaker need them, and the limits at which it opens.
///
/// What is counted and in which windows changes between two epochs only; the limits change while results come in. So a result that
/// reaches a limit comes with the revision of the limits that it was judged by, and opens the breaker only if that is the current one
/// under the lock that limits are changed under.
pub(crate) struct Ledger {
    /// What is counted, and how: one bit for each kind, [`STREAK`], [`TO_HEAD`] and [`HANGING`].
    counted: AtomicU32,
    revision: AtomicU32,
    streak: Streak,
    of_last: [CountWindow; 2],
    in_time: [OnceLock<Box<TimeWindow>>; 2],
    streak_limit: AtomicU32,
    limits: [Limit; 4],
    slow_after: AtomicU64,
    in_flight: OnceLock<Box<InFlight>>,
}

const STREAK: u32 = 1 << 4;
/// Slow calls are measured to the head of the response.
const TO_HEAD: u32 = 1 << 5;
/// Slow calls are counted while they are in flight.
const HANGING: u32 = 1 << 6;
const FAILURES_OF_LAST: u32 = Kind::FailuresOfLast.bit();
const SLOW: u32 = Kind::SlowOfLast.bit() | Kind::SlowInTime.bit();
const IN_TIME: u32 = Kind::FailuresInTime.bit() | Kind::SlowInTime.bit();

/// The limits between two changes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revision(u32);

impl Ledger {
    /// Makes a ledger that is empty for `epoch`.
    pub(crate) fn new(open_when: &OpenWhen, epoch: Epoch) -> Self {
        let ledger = Self {
            counted: AtomicU32::new(0),
            revision: AtomicU32::new(0),
            streak: Streak::new(),
            of_last: [CountWindow::new(), CountWindow::new()],
            in_time: [OnceLock::new(), OnceLock::new()],
            streak_limit: AtomicU32::new(0),
            limits: std::array::from_fn(|_| Limit::new()),
            slow_after: AtomicU64::new(0),
            in_flight: OnceLock::new(),
        };
        ledger.reset(epoch);
        ledger.reshape(open_when, epoch);
        ledger
    }

    /// Whether calls must be timed.
    #[inline(always)]
    pub(crate) fn times_calls(&self) -> bool {
        self.counted() & SLOW != 0
    }

    /// Whether more is asked of calls than how long they ran in the end.
    #[inline(always)]
    pub(crate) fn watches_calls(&self) -> bool {
        self.counted() & (TO_HEAD | HANGING) != 0
    }

    /// Whether calls are timed to the head of their response.
    pub(crate) fn times_to_head(&self) -> bool {
        self.counted() & TO_HEAD != 0
    }

    /// Returns the calls in flight, if they are to be counted while they hang.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> Option<&InFlight> {
        if self.counted() & HANGING == 0 {
            return None;
        }
        self.in_flight.get().map(|in_flight| &**in_flight)
    }

    /// Returns after how many nanoseconds a call is slow.
    pub(crate) fn slow_after(&self) -> u64 {
        self.slow_after.load(Ordering::Relaxed)
    }

    /// Whether one more success in `epoch` would change nothing.
    #[inline(always)]
    pub(crate) fn is_spotless(&self, epoch: Epoch) -> bool {
        let counted = self.counted();
        counted & (SLOW | IN_TIME) == 0
            && (counted & FAILURES_OF_LAST == 0 || self.of_last[0].is_spotless(epoch))
            && (counted & STREAK == 0 || self.streak.is_spotless(epoch))
    }

    /// Counts one result of `epoch`. If it reaches a limit, returns the revision of the limits.
    #[inline]
    pub(crate) fn record(
        &self,
        epoch: Epoch,
        mark: Mark,
        now: impl Fn() -> u64,
    ) -> Option<Revision> {
        let revision = Revision(self.revision.load(Ordering::Acquire));
        let counted = match mark.counts {
            mark::Counts::Everywhere => self.counted(),
            mark::Counts::AsSlow => self.counted() & SLOW,
            mark::Counts::AsEnded => self.counted() & !SLOW,
        };
        let reaches = |kind| self.record_share(counted, kind, epoch, mark, &now);
        // Each of them counts. A loop over the kinds would cost twice as much as all the rest.
        let reached = self.record_in_a_row(counted, epoch, mark)
            | reaches(Kind::FailuresOfLast)
            | reaches(Kind::SlowOfLast)
            | reaches(Kind::FailuresInTime)
            | reaches(Kind::SlowInTime);
        reached.then_some(revision)
    }

    /// Whether the results of `epoch`, as they stand at `now`, reach a limit of `open_when`.
    pub(crate) fn reaches(&self, open_when: &OpenWhen, epoch: Epoch, now: u64) -> bool {
        let failures = self.in_a_row(epoch).unwrap_or_default();
        let reached = |kind| {
            let counts = self.counts(kind, epoch, now).unwrap_or_default();
            open_when.rates[kind as usize].is_some_and(|rate| counts.reach(rate.rate, rate.minimum))
        };
        open_when
            .streak
            .is_some_and(|limit| failures >= limit.get())
            || Kind::ALL.into_iter().any(reached)
    }

    /// Whether no failed and no slow result of `epoch` is remembered at `now`.
    pub(crate) fn is_unmarked(&self, epoch: Epoch, now: u64) -> bool {
        let unmarked = |kind| {
            let counts = self.counts(kind, epoch, now);
            counts.is_none_or(|counts| counts.marked == 0)
        };
        let hang = |in_flight: &InFlight| in_flight.hang(epoch, now);
        self.in_a_row(epoch).is_none_or(|failures| failures == 0)
            && !self.in_flight().is_some_and(hang)
            && Kind::ALL.into_iter().all(unmarked)
    }

    /// Returns the failures in a row, where they are counted.
    pub(crate) fn in_a_row(&self, epoch: Epoch) -> Option<u32> {
        (self.counted() & STREAK != 0).then(|| self.streak.failures(epoch))
    }

    /// Returns the results of `epoch` that are remembered at `now`, where they are counted.
    pub(crate) fn counts(&self, kind: Kind, epoch: Epoch, now: u64) -> Option<Counts> {
        if self.counted() & kind.bit() == 0 {
            return None;
        }
        match self.window(kind)? {
            Counted::OfLast(window) => Some(window.counts(epoch)),
            Counted::InTime(window) => Some(window.counts(epoch, now)),
        }
    }

    /// Returns what a snapshot shows of the results of `epoch`.
    pub(crate) fn results(&self, epoch: Epoch, now: u64) -> Results {
        let in_a_row = u64::from(self.in_a_row(epoch).unwrap_or_default());
        let windows = [
            (Kind::FailuresOfLast, Kind::SlowOfLast),
            (Kind::FailuresInTime, Kind::SlowInTime),
        ];
        for (failures, slow) in windows {
            let failures = self.counts(failures, epoch, now);
            let slow = self.counts(slow, epoch, now);
            if let Some(counts) = failures.or(slow) {
                return Results {
                    all: counts.results,
                    failed: failures.map_or(in_a_row, |failures| failures.marked),
                    slow: slow.map_or(0, |slow| slow.marked),
                };
            }
        }
        Results {
            all: in_a_row,
            failed: in_a_row,
            slow: 0,
        }
    }

    /// Forgets everything; results of other epochs than this one do not count from now on.
    pub(crate) fn reset(&self, epoch: Epoch) {
        self.streak.reset(epoch);
        self.of_last.iter().for_each(|window| window.reset(epoch));
        let in_time = self.in_time.iter().filter_map(OnceLock::get);
        in_time.for_each(|window| window.reset(epoch));
    }

    /// Changes what is counted, and in which windows, in a ledger that is empty for `epoch`.
    pub(crate) fn reshape(&self, open_when: &OpenWhen, epoch: Epoch) {
        let mut counted = if open_when.streak.is_some() {
            STREAK
        } else {
            0
        };
        for kind in Kind::ALL {
            if let Some(rate) = open_when.rates[kind as usize] {
                counted |= kind.bit();
                self.make_room(kind, rate.window, epoch);
            }
        }
        if let Some(slow) = open_when.slow {
            counted |= if slow.to_head { TO_HEAD } else { 0 };
            if slow.while_in_flight {
                counted |= HANGING;
                let in_flight = self.in_flight.get_or_init(|| Box::new(InFlight::new()));
                in_flight.restart(slow.after);
            }
        }
        self.counted.store(counted, Ordering::Release);
    }

    /// Changes the limits, and returns their revision.
    pub(crate) fn adopt(&self, open_when: &OpenWhen) -> Revision {
        if let Some(failures) = open_when.streak {
            self.streak_limit.store(failures.get(), Ordering::Relaxed);
        }
        for (limit, rate) in self.limits.iter().zip(open_when.rates) {
            if let Some(rate) = rate {
                limit.adopt(rate);
            }
        }
        let slow_after = open_when.slow.map_or(u64::MAX, |slow| slow.after);
        self.slow_after.store(slow_after, Ordering::Relaxed);
        // Release pairs with the Acquire of `record`: who sees a revision sees its limits, or later ones.
        let before = self.revision.fetch_add(1, Ordering::Release);
        Revision(before.wrapping_add(1))
    }

    fn make_room(&self, kind: Kind, window: Window, epoch: Epoch) {
        match window {
            Window::Results(results) => self.of_last[kind.place()].resize(results, epoch),
            Window::Time(_) => {
                let new = || {
                    let window = Box::new(TimeWindow::new());
                    window.reset(epoch);
                    window
                };
                let nanos = window.nanos().unwrap_or(u64::MAX);
                self.in_time[kind.place()].get_or_init(new).resize(nanos);
            }
        }
    }

    #[inline(always)]
    fn record_in_a_row(&self, counted: u32, epoch: Epoch, mark: Mark) -> bool {
        if counted & STREAK == 0 || mark.verdict == CountAs::Ignored {
            return false;
        }
        let failures = self.streak.record(epoch, mark.failed());
        failures.is_some_and(|failures| failures >= self.streak_limit.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn record_share(
        &self,
        counted: u32,
        kind: Kind,
        epoch: Epoch,
        mark: Mark,
        now: impl Fn() -> u64,
    ) -> bool {
        if counted & kind.bit() == 0 {
            return false;
        }
        let counts = match self.window(kind) {
            Some(Counted::OfLast(window)) => window.record(epoch, mark.is(kind)),
            Some(Counted::InTime(window)) => window.record(epoch, mark.is(kind), now()),
            None => None,
        };
        counts.is_some_and(|counts| self.limits[kind as usize].is_reached(counts))
    }

    #[inline(always)]
    fn window(&self, kind: Kind) -> Option<Counted<'_>> {
        match kind {
            Kind::FailuresOfLast | Kind::SlowOfLast => {
                Some(Counted::OfLast(&self.of_last[kind.place()]))
            }
            Kind::FailuresInTime | Kind::SlowInTime => self.in_time[kind.place()]
                .get()
                .map(|window| Counted::InTime(window)),
        }
    }

    #[inline(always)]
    fn counted(&self) -> u32 {
        self.counted.load(Ordering::Relaxed)
    }
}

/// The results in a window.
pub(crate) struct Results {
    pub(crate) all: u64,
    pub(crate) failed: u64,
    pub(crate) slow: u64,
}

/// One of the windows.
enum Counted<'a> {
    OfLast(&'a CountWindow),
    InTime(&'a TimeWindow),
}
