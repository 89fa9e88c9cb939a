use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use towerkit_core::{CallEnd, Outcome, RejectionReason};

use crate::{LimitAlgorithm, Window, algorithm::is_overloaded};

/// Creates the algorithm of an [`AdaptiveLimit`].
pub(crate) type MakeAlgorithm = dyn Fn() -> Box<dyn LimitAlgorithm> + Send + Sync;

/// The lowest and the highest limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// The measurement of one call that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LatencySample {
    pub(crate) kind: SampleKind,
    /// The time from the admission to the end, in nanoseconds.
    pub(crate) duration: u64,
    /// The calls in flight at the end, including this one.
    pub(crate) in_flight: u32,
}

/// The meaning of a [`LatencySample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleKind {
    /// The call succeeded.
    Completed,
    /// The call was cancelled, and would have taken longer.
    Cancelled,
    /// The upstream was overloaded, or the call timed out.
    Dropped,
}

impl SampleKind {
    /// Returns the kind of a call that ended, or [`None`] if its end is unrelated to load.
    ///
    /// Failures and client errors are excluded because they are often faster than any success, and so is a rejection for another
    /// reason, such as a rate limit inside.
    pub(crate) fn of(end: &CallEnd) -> Option<Self> {
        match end.rejection_reason() {
            Some(RejectionReason::Overloaded | RejectionReason::DeadlineExceeded) => {
                return Some(Self::Dropped);
            }
            Some(_) => return None,
            None => {}
        }
        match end.outcome() {
            Outcome::Success => Some(Self::Completed),
            Outcome::Overloaded | Outcome::TimedOut => Some(Self::Dropped),
            Outcome::Cancelled => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// Collects [`LatencySample`]s into windows, and updates the limit after each of them. The time is an argument.
pub(crate) struct AdaptiveLimit {
    algorithm: Box<dyn LimitAlgorithm>,
    make_algorithm: Arc<MakeAlgorithm>,
    bounds: Bounds,
    window_length: u64,
    limit: f64,
    /// The mean duration of the last window with samples; 0 before.
    mean: u64,
    /// The time of the last decrease.
    lowered_at: u64,
    window: OpenWindow,
}

/// The [`Window`] that is being measured.
struct OpenWindow {
    opens: u64,
    closes: u64,
    /// The time at which it closes if the upstream is overloaded.
    closes_early: u64,
    samples: u32,
    drops: u32,
    sum: u64,
    min: u64,
    max: u64,
    in_flight: u32,
}

impl AdaptiveLimit {
    /// The lowest number of calls in a window.
    const MIN_CALLS: u32 = 10;
    /// The highest duration that one call counts for, as a multiple of the mean, so that one stream does not dominate the mean.
    const MAX_MEANS: u64 = 10;
    /// The longest delay before an overload lowers the limit, in nanoseconds.
    const MAX_OVERLOAD_DELAY: u64 = 1_000_000_000;

    pub(crate) fn new(
        make_algorithm: Arc<MakeAlgorithm>,
        bounds: Bounds,
        window_length: u64,
        limit: u32,
    ) -> Self {
        Self {
            algorithm: make_algorithm(),
            make_algorithm,
            bounds,
            window_length,
            limit: f64::from(limit),
            mean: 0,
            lowered_at: 0,
            window: OpenWindow::new(0, 0, 0),
        }
    }

    /// Adds a sample, and returns the limit if it changed.
    pub(crate) fn on_sample(&mut self, now: u64, sample: LatencySample) -> Option<u32> {
        let LatencySample {
            kind,
            duration,
            in_flight,
        } = sample;
        if self.window.closes == 0 {
            self.window = self.next_window(now);
        }
        match kind {
            // One overload lowers the limit once, however late its calls time out, as RFC 6582 treats losses of one window.
            SampleKind::Dropped if now.saturating_sub(duration) < self.lowered_at => return None,
            SampleKind::Dropped => self.window.drops = self.window.drops.saturating_add(1),
            // The call ran under the previous limit.
            _ if now < self.window.opens => return None,
            // A call that was cancelled early might have been as fast as the others.
            SampleKind::Cancelled if self.mean == 0 || duration <= self.mean => return None,
            SampleKind::Completed | SampleKind::Cancelled => {
                self.window.add(duration, self.max_duration());
            }
        }
        self.window.in_flight = self.window.in_flight.max(in_flight);
        if self.window.calls() < Self::MIN_CALLS || !self.window.is_over(now) {
            return None;
        }
        self.close_window(now)
    }

    /// Restarts the algorithm from another limit, and returns that limit, clamped to the bounds.
    pub(crate) fn restart(&mut self, limit: u32) -> u32 {
        let limit = limit.clamp(self.bounds.min, self.bounds.max);
        self.limit = f64::from(limit);
        self.algorithm = (self.make_algorithm)();
        self.window = OpenWindow::new(0, 0, 0);
        limit
    }

    /// Opens the window that follows one that closed at `now`.
    fn next_window(&self, now: u64) -> OpenWindow {
        let opens = now.saturating_add(self.mean);
        let length = self.window_length.max(self.mean.saturating_mul(2));
        let early = length.min(self.window_length.max(Self::MAX_OVERLOAD_DELAY));
        OpenWindow::new(
            opens,
            opens.saturating_add(length),
            now.saturating_add(early),
        )
    }

    fn max_duration(&self) -> u64 {
        match self.mean {
            0 => u64::MAX,
            mean => mean.saturating_mul(Self::MAX_MEANS),
        }
    }

    fn close_window(&mut self, now: u64) -> Option<u32> {
        let window = self.window.finish(self.limit, self.mean);
        let next = self.compute_limit(&window);
        self.mean = window.mean.as_nanos() as u64;
        self.window = self.next_window(now);
        let before = self.rounded();
        self.limit = next.clamp(f64::from(self.bounds.min), f64::from(self.bounds.max));
        let after = self.rounded();
        if after < before {
            self.lowered_at = now;
        }
        (before != after).then_some(after)
    }

    /// Runs the algorithm. Keeps the limit if the result is not a number, or rises while less than half of the limit is in use.
    fn compute_limit(&mut self, window: &Window) -> f64 {
        let algorithm = &mut self.algorithm;
        // This may run while a call unwinds: a second panic would abort the process.
        let result = catch_unwind(AssertUnwindSafe(|| algorithm.update(window)));
        let next = result.unwrap_or(self.limit);
        if next.is_nan() || (next > self.limit && window.is_app_limited()) {
            return self.limit;
        }
        next
    }

    fn rounded(&self) -> u32 {
        self.limit.round() as u32
    }
}

impl OpenWindow {
    fn new(opens: u64, closes: u64, closes_early: u64) -> Self {
        Self {
            opens,
            closes,
            closes_early,
            samples: 0,
            drops: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
            in_flight: 0,
        }
    }

    fn add(&mut self, duration: u64, max_duration: u64) {
        let counted = duration.min(max_duration);
        self.samples = self.samples.saturating_add(1);
        self.sum = self.sum.saturating_add(counted);
        self.min = self.min.min(duration);
        self.max = self.max.max(counted);
    }

    fn calls(&self) -> u32 {
        self.samples.saturating_add(self.drops)
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.closes || (now >= self.closes_early && is_overloaded(self.samples, self.drops))
    }

    fn finish(&self, limit: f64, last_mean: u64) -> Window {
        // The first window has no previous mean that could bound the durations, so its longest call is left out.
        let (sum, samples) = match last_mean {
            0 if self.samples > 1 => (self.sum - self.max, self.samples - 1),
            _ => (self.sum, self.samples),
        };
        let mean = (sum.checked_div(u64::from(samples))).unwrap_or(last_mean);
        Window {
            limit,
            in_flight: self.in_flight,
            samples: self.samples,
            drops: self.drops,
            mean: Duration::from_nanos(mean),
            min: Duration::from_nanos(self.min.min(mean)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_overloads_timeouts_and_cancellations_are_samples() {
        let kind = |outcome| SampleKind::of(&CallEnd::new(outcome));
        assert_eq!(kind(Outcome::Success), Some(SampleKind::Completed));
        assert_eq!(kind(Outcome::Overloaded), Some(SampleKind::Dropped));
        assert_eq!(kind(Outcome::TimedOut), Some(SampleKind::Dropped));
        assert_eq!(kind(Outcome::Cancelled), Some(SampleKind::Cancelled));
        assert_eq!(kind(Outcome::ClientError), None);
        assert_eq!(kind(Outcome::Failure), None);
    }

    #[test]
    fn a_rejection_by_an_inner_layer_is_a_drop_if_its_reason_is_load() {
        let kind = |reason| SampleKind::of(&CallEnd::rejected_for(reason));
        assert_eq!(kind(RejectionReason::Overloaded), Some(SampleKind::Dropped));
        assert_eq!(
            kind(RejectionReason::DeadlineExceeded),
            Some(SampleKind::Dropped)
        );
        assert_eq!(kind(RejectionReason::RateLimited), None);
        assert_eq!(kind(RejectionReason::CircuitOpen), None);
        assert_eq!(kind(RejectionReason::Unauthenticated), None);
    }
}
