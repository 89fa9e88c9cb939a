use std::sync::OnceLock;

use towerkit_core::CountAs;

use crate::{
    call_result::{CallResult, Windows},
    count_window::{CountWindow, Counts},
    generation::Generation,
    in_flight_calls::InFlightCalls,
    open_when::{OpenWhen, RateKind, RateThreshold, Window},
    sync::{AtomicU32, AtomicU64, Ordering},
    time_window::TimeWindow,
};

/// The counts of the results of one [`Generation`], and the thresholds at which the breaker opens.
///
/// The windows and their kinds change only between two generations; the thresholds change while results are counted. A result that
/// reaches a threshold therefore has the [`Revision`] of the thresholds. It opens the breaker only if this revision is still current
/// under the lock under which thresholds change, or if the counts reach the current thresholds.
pub(crate) struct WindowCounts {
    /// The set of counted kinds: one bit for each [`RateKind`], [`CONSECUTIVE`], [`TO_HEAD`] and [`WHILE_IN_FLIGHT`].
    counted: AtomicU32,
    revision: AtomicU32,
    consecutive: ConsecutiveFailures,
    by_count: [CountWindow; 2],
    by_time: [OnceLock<Box<TimeWindow>>; 2],
    consecutive_threshold: AtomicU32,
    thresholds: [AtomicThreshold; 4],
    slow_after: AtomicU64,
    in_flight: OnceLock<Box<InFlightCalls>>,
}

/// Consecutive failures are counted.
const CONSECUTIVE: u32 = 1 << 4;
/// Slow calls are measured to the head of the response.
const TO_HEAD: u32 = 1 << 5;
/// Slow calls are counted while they are in flight.
const WHILE_IN_FLIGHT: u32 = 1 << 6;
const FAILURES_BY_COUNT: u32 = RateKind::FailuresByCount.bit();
const SLOW: u32 = RateKind::SlowByCount.bit() | RateKind::SlowByTime.bit();
const BY_TIME: u32 = RateKind::FailuresByTime.bit() | RateKind::SlowByTime.bit();

/// The number of a set of thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revision(u32);

impl WindowCounts {
    /// Makes windows that are empty for `generation`.
    pub(crate) fn new(open_when: &OpenWhen, generation: Generation) -> Self {
        let counts = Self {
            counted: AtomicU32::new(0),
            revision: AtomicU32::new(0),
            consecutive: ConsecutiveFailures::new(),
            by_count: [CountWindow::new(), CountWindow::new()],
            by_time: [OnceLock::new(), OnceLock::new()],
            consecutive_threshold: AtomicU32::new(0),
            thresholds: std::array::from_fn(|_| AtomicThreshold::new()),
            slow_after: AtomicU64::new(0),
            in_flight: OnceLock::new(),
        };
        counts.reset(generation);
        counts.set_windows(open_when, generation);
        counts
    }

    /// Returns true if the duration of calls is measured.
    #[inline(always)]
    pub(crate) fn times_calls(&self) -> bool {
        self.counted() & SLOW != 0
    }

    /// Returns true if the duration of calls is not only measured at their end.
    #[inline(always)]
    pub(crate) fn tracks_calls(&self) -> bool {
        self.counted() & (TO_HEAD | WHILE_IN_FLIGHT) != 0
    }

    /// Returns true if calls are measured to the head of the response.
    pub(crate) fn times_to_head(&self) -> bool {
        self.counted() & TO_HEAD != 0
    }

    /// Returns the calls in flight, if slow calls are counted while they are in flight.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> Option<&InFlightCalls> {
        if self.counted() & WHILE_IN_FLIGHT == 0 {
            return None;
        }
        self.in_flight.get().map(|in_flight| &**in_flight)
    }

    /// Returns the slow-call threshold in nanoseconds.
    pub(crate) fn slow_after(&self) -> u64 {
        self.slow_after.load(Ordering::Relaxed)
    }

    /// Returns true if one more success in `generation` would not change the counts.
    #[inline(always)]
    pub(crate) fn ignore_success(&self, generation: Generation) -> bool {
        let counted = self.counted();
        counted & (SLOW | BY_TIME) == 0
            && (counted & FAILURES_BY_COUNT == 0
                || self.by_count[0].is_full_of_unmarked(generation))
            && (counted & CONSECUTIVE == 0 || self.consecutive.is_zero(generation))
    }

    /// Counts one result of `generation`. Returns the revision of the thresholds if it reaches one of them.
    #[inline]
    pub(crate) fn record(
        &self,
        generation: Generation,
        result: CallResult,
        now: impl Fn() -> u64,
    ) -> Option<Revision> {
        let revision = Revision(self.revision.load(Ordering::Acquire));
        let counted = match result.windows {
            Windows::All => self.counted(),
            Windows::Slow => self.counted() & SLOW,
            Windows::AllButSlow => self.counted() & !SLOW,
        };
        let reaches = |kind| self.record_rate(counted, kind, generation, result, &now);
        // Not short-circuiting: each window counts the result. A loop over the kinds would double the cost of this function.
        let reached = self.record_consecutive(counted, generation, result)
            | reaches(RateKind::FailuresByCount)
            | reaches(RateKind::SlowByCount)
            | reaches(RateKind::FailuresByTime)
            | reaches(RateKind::SlowByTime);
        reached.then_some(revision)
    }

    /// Returns true if the results of `generation` reach a threshold of `open_when` at `now`.
    pub(crate) fn reach(&self, open_when: &OpenWhen, generation: Generation, now: u64) -> bool {
        let failures = self.consecutive(generation).unwrap_or_default();
        let reached = |kind| {
            let counts = self.counts(kind, generation, now).unwrap_or_default();
            open_when.rates[kind as usize].is_some_and(|rate| counts.reach(rate.rate, rate.minimum))
        };
        let threshold = open_when.consecutive_failures;
        threshold.is_some_and(|threshold| failures >= threshold.get())
            || RateKind::ALL.into_iter().any(reached)
    }

    /// Returns true if the windows contain no failed or slow result of `generation` at `now`.
    pub(crate) fn are_unmarked(&self, generation: Generation, now: u64) -> bool {
        let is_unmarked = |kind| {
            let counts = self.counts(kind, generation, now);
            counts.is_none_or(|counts| counts.marked == 0)
        };
        let has_expired = |calls: &InFlightCalls| calls.has_expired(generation, now);
        self.consecutive(generation)
            .is_none_or(|failures| failures == 0)
            && !self.in_flight().is_some_and(has_expired)
            && RateKind::ALL.into_iter().all(is_unmarked)
    }

    /// Returns the counts for a [snapshot](crate::CircuitBreakerSnapshot).
    pub(crate) fn totals(&self, generation: Generation, now: u64) -> Totals {
        let consecutive = u64::from(self.consecutive(generation).unwrap_or_default());
        let windows = [
            (RateKind::FailuresByCount, RateKind::SlowByCount),
            (RateKind::FailuresByTime, RateKind::SlowByTime),
        ];
        for (failures, slow) in windows {
            let failures = self.counts(failures, generation, now);
            let slow = self.counts(slow, generation, now);
            if let Some(counts) = failures.or(slow) {
                return Totals {
                    results: counts.results,
                    failures: failures.map_or(consecutive, |failures| failures.marked),
                    slow: slow.map_or(0, |slow| slow.marked),
                };
            }
        }
        Totals {
            results: consecutive,
            failures: consecutive,
            slow: 0,
        }
    }

    /// Removes all results; results of other generations than this one do not count from now on.
    pub(crate) fn reset(&self, generation: Generation) {
        self.consecutive.reset(generation);
        self.by_count
            .iter()
            .for_each(|window| window.reset(generation));
        let by_time = self.by_time.iter().filter_map(OnceLock::get);
        by_time.for_each(|window| window.reset(generation));
    }

    /// Sets the windows, which are empty for `generation`.
    pub(crate) fn set_windows(&self, open_when: &OpenWhen, generation: Generation) {
        let mut counted = 0;
        if open_when.consecutive_failures.is_some() {
            counted |= CONSECUTIVE;
        }
        for kind in RateKind::ALL {
            if let Some(rate) = open_when.rates[kind as usize] {
                counted |= kind.bit();
                self.resize_window(kind, rate.window, generation);
            }
        }
        if let Some(slow) = open_when.slow {
            counted |= if slow.to_head { TO_HEAD } else { 0 };
            if slow.while_in_flight {
                counted |= WHILE_IN_FLIGHT;
                let in_flight = self
                    .in_flight
                    .get_or_init(|| Box::new(InFlightCalls::new()));
                in_flight.reset(slow.after);
            }
        }
        self.counted.store(counted, Ordering::Release);
    }

    /// Sets the thresholds, and returns their revision.
    pub(crate) fn set_thresholds(&self, open_when: &OpenWhen) -> Revision {
        if let Some(failures) = open_when.consecutive_failures {
            self.consecutive_threshold
                .store(failures.get(), Ordering::Relaxed);
        }
        for (threshold, rate) in self.thresholds.iter().zip(open_when.rates) {
            if let Some(rate) = rate {
                threshold.set(rate);
            }
        }
        let slow_after = open_when.slow.map_or(u64::MAX, |slow| slow.after);
        self.slow_after.store(slow_after, Ordering::Relaxed);
        // Release pairs with the Acquire of `record`: a thread that sees a revision sees its thresholds, or later ones.
        let before = self.revision.fetch_add(1, Ordering::Release);
        Revision(before.wrapping_add(1))
    }

    /// Returns the number of consecutive failures, if it is counted.
    fn consecutive(&self, generation: Generation) -> Option<u32> {
        (self.counted() & CONSECUTIVE != 0).then(|| self.consecutive.count(generation))
    }

    /// Returns the counts of `generation` at `now`, if this kind is counted.
    fn counts(&self, kind: RateKind, generation: Generation, now: u64) -> Option<Counts> {
        if self.counted() & kind.bit() == 0 {
            return None;
        }
        match self.window(kind)? {
            AnyWindow::ByCount(window) => Some(window.counts(generation)),
            AnyWindow::ByTime(window) => Some(window.counts(generation, now)),
        }
    }

    fn resize_window(&self, kind: RateKind, window: Window, generation: Generation) {
        let index = kind.window_index();
        match window {
            Window::Results(results) => self.by_count[index].resize(results, generation),
            Window::Time(_) => {
                let new = || {
                    let window = Box::new(TimeWindow::new());
                    window.reset(generation);
                    window
                };
                let nanos = window.nanos().unwrap_or(u64::MAX);
                self.by_time[index].get_or_init(new).resize(nanos);
            }
        }
    }

    #[inline(always)]
    fn record_consecutive(&self, counted: u32, generation: Generation, result: CallResult) -> bool {
        if counted & CONSECUTIVE == 0 || result.count_as == CountAs::Ignored {
            return false;
        }
        let failures = self.consecutive.record(generation, result.failed());
        failures
            .is_some_and(|failures| failures >= self.consecutive_threshold.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn record_rate(
        &self,
        counted: u32,
        kind: RateKind,
        generation: Generation,
        result: CallResult,
        now: impl Fn() -> u64,
    ) -> bool {
        if counted & kind.bit() == 0 {
            return false;
        }
        let marked = result.is_marked(kind);
        let counts = match self.window(kind) {
            Some(AnyWindow::ByCount(window)) => window.record(generation, marked),
            Some(AnyWindow::ByTime(window)) => window.record(generation, marked, now()),
            None => None,
        };
        counts.is_some_and(|counts| self.thresholds[kind as usize].is_reached(counts))
    }

    #[inline(always)]
    fn window(&self, kind: RateKind) -> Option<AnyWindow<'_>> {
        let index = kind.window_index();
        match kind {
            RateKind::FailuresByCount | RateKind::SlowByCount => {
                Some(AnyWindow::ByCount(&self.by_count[index]))
            }
            RateKind::FailuresByTime | RateKind::SlowByTime => self.by_time[index]
                .get()
                .map(|window| AnyWindow::ByTime(window)),
        }
    }

    #[inline(always)]
    fn counted(&self) -> u32 {
        self.counted.load(Ordering::Relaxed)
    }
}

/// The counts that a [snapshot](crate::CircuitBreakerSnapshot) shows.
pub(crate) struct Totals {
    pub(crate) results: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

enum AnyWindow<'a> {
    ByCount(&'a CountWindow),
    ByTime(&'a TimeWindow),
}

/// A [`RateThreshold`] that changes while results are counted.
struct AtomicThreshold {
    rate: AtomicU64,
    minimum: AtomicU32,
}

// Relaxed: the revision reveals a mixture of two thresholds.
impl AtomicThreshold {
    fn new() -> Self {
        Self {
            rate: AtomicU64::new(0),
            minimum: AtomicU32::new(0),
        }
    }

    fn set(&self, threshold: RateThreshold) {
        self.rate.store(threshold.rate.to_bits(), Ordering::Relaxed);
        self.minimum.store(threshold.minimum, Ordering::Relaxed);
    }

    #[inline(always)]
    fn is_reached(&self, counts: Counts) -> bool {
        let minimum = self.minimum.load(Ordering::Relaxed);
        counts.reach(f64::from_bits(self.rate.load(Ordering::Relaxed)), minimum)
    }
}

/// The number of failures in a row (32 bits) of one [`Generation`] (32 bits), in one atomic word.
struct ConsecutiveFailures(AtomicU64);

const FAILURES: u32 = 32;

// Relaxed throughout: no other memory depends on this word.
impl ConsecutiveFailures {
    fn new() -> Self {
        Self(AtomicU64::new(u64::from(Generation::FIRST.bits())))
    }

    #[inline(always)]
    fn is_zero(&self, generation: Generation) -> bool {
        self.0.load(Ordering::Relaxed) == u64::from(generation.bits())
    }

    /// Counts one result and returns the number of consecutive failures; `None` if that generation is over.
    fn record(&self, generation: Generation, failed: bool) -> Option<u32> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while Generation::from_bits(seen as u32) == generation {
            let before = (seen >> FAILURES) as u32;
            let failures = if failed { before.saturating_add(1) } else { 0 };
            let next = u64::from(generation.bits()) | u64::from(failures) << FAILURES;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(failures),
                Err(other) => seen = other,
            }
        }
        None
    }

    fn reset(&self, generation: Generation) {
        self.0.swap(u64::from(generation.bits()), Ordering::Relaxed);
    }

    /// Returns the number of consecutive failures of `generation`, which is 0 if it is over.
    fn count(&self, generation: Generation) -> u32 {
        let seen = self.0.load(Ordering::Relaxed);
        if Generation::from_bits(seen as u32) == generation {
            (seen >> FAILURES) as u32
        } else {
            0
        }
    }
}
