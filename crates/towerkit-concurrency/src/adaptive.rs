use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crate::{
    InvalidSetting, LimitAlgorithm, Window,
    algorithm::is_overloaded,
    invalid::{Problem, nanos},
    word::Word,
};

/// A limit that finds itself: an algorithm, the bounds it stays in, and how often it is asked.
///
/// What counts is the duration of a call from its admission to the end of its response body, as long as it is in flight: Little's law
/// holds for nothing less. Calls that succeed are samples; those that the callee rejected for overload, or that timed out, are drops.
/// Failures, errors of the caller and rejections for another reason than load say nothing, nor does a cancelled call that had not taken
/// longer than the mean.
///
/// ```
/// use std::time::Duration;
/// use towerkit_concurrency::{Adaptive, ConcurrencyLimitLayer, Vegas};
///
/// let adaptive = Adaptive::new(Vegas::new()).try_limits(10, 400)?.window(Duration::from_millis(250))?;
/// let layer = ConcurrencyLimitLayer::adaptive(adaptive);
/// assert_eq!(layer.handle().limit(), 20);
/// # Ok::<_, towerkit_concurrency::InvalidSetting>(())
/// ```
#[derive(Clone)]
pub struct Adaptive {
    make: Arc<Make>,
    bounds: Bounds,
    initial: u32,
    window: u64,
}

type Make = dyn Fn() -> Box<dyn LimitAlgorithm> + Send + Sync;

#[derive(Debug, Clone, Copy)]
struct Bounds {
    min: u32,
    max: u32,
}

impl Adaptive {
    /// Asks `algorithm`, within 4 and 1000, beginning with 20, after every 100 ms.
    pub fn new(algorithm: impl LimitAlgorithm + Clone + Sync) -> Self {
        Self {
            make: Arc::new(move || Box::new(algorithm.clone())),
            bounds: Bounds { min: 4, max: 1000 },
            initial: 20,
            window: 100_000_000,
        }
    }

    /// Keeps the limit within these bounds, and begins with 20 or with the bound that is nearest.
    ///
    /// # Errors
    ///
    /// Unless `1 <= min <= max <= 2 147 483 647`.
    pub fn try_limits(mut self, min: u32, max: u32) -> Result<Self, InvalidSetting> {
        if min == 0 || min > max || max > Word::MAX {
            return Err(InvalidSetting(Problem::Bounds { min, max }));
        }
        self.bounds = Bounds { min, max };
        self.initial = self.initial.clamp(min, max);
        Ok(self)
    }

    /// Begins with this limit, or with the bound that is nearest; 20 by default.
    #[must_use]
    pub fn initial(mut self, limit: u32) -> Self {
        self.initial = limit.clamp(self.bounds.min, self.bounds.max);
        self
    }

    /// Asks the algorithm each time that so much time has passed and ten calls have ended; 100 ms by default.
    ///
    /// A window lasts for two mean durations at least. A call that ends within one mean duration of its start is left out, since it
    /// still belongs to the old limit. An overload ends a window after one second, whatever the durations: so long is the longest
    /// window of Netflix's concurrency-limits.
    ///
    /// One call that is very long, such as a stream of an hour, counts for ten mean durations at most.
    ///
    /// # Errors
    ///
    /// If the time is zero or more than a year.
    pub fn window(mut self, window: Duration) -> Result<Self, InvalidSetting> {
        self.window = nanos("window", window)?;
        Ok(self)
    }

    pub(crate) fn first_limit(&self) -> u32 {
        self.initial
    }

    pub(crate) fn meter(&self, limit: u32) -> Meter {
        Meter {
            algorithm: (self.make)(),
            make: self.make.clone(),
            bounds: self.bounds,
            length: self.window,
            limit: f64::from(limit),
            mean: 0,
            lowered_at: 0,
            window: Gathered::new(0, 0, 0),
        }
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("bounds", &self.bounds)
            .field("initial", &self.initial)
            .field("window", &Duration::from_nanos(self.window))
            .finish_non_exhaustive()
    }
}

/// How a call ended, as far as a limit can learn from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// It took its time.
    Took,
    /// It was given up after its time, so that it would have taken longer.
    GivenUp,
    /// It was more than the callee could take.
    Dropped,
}

/// Gathers calls into windows, and asks the algorithm. Pure but for the algorithm: the time is an argument.
pub(crate) struct Meter {
    algorithm: Box<dyn LimitAlgorithm>,
    make: Arc<Make>,
    bounds: Bounds,
    length: u64,
    limit: f64,
    /// The mean duration in the last window that had one; 0 before.
    mean: u64,
    /// When the limit was last lowered.
    lowered_at: u64,
    window: Gathered,
}

/// What a window has gathered so far.
struct Gathered {
    opens: u64,
    closes: u64,
    /// When it closes if the callee is overloaded.
    closes_early: u64,
    samples: u32,
    drops: u32,
    sum: u64,
    least: u64,
    most: u64,
    in_flight: u32,
}

impl Meter {
    /// A window has at least so many calls.
    const FEWEST: u32 = 10;
    /// A call counts for at most so many mean durations, or one stream would speak for all the others.
    const MOST: u64 = 10;
    /// An overload is heard of after this time at the latest, in nanoseconds.
    const EARLY: u64 = 1_000_000_000;

    /// Takes note of one call, of which `in_flight` were in flight at its end, and returns the limit if it is another one now.
    pub(crate) fn record(
        &mut self,
        now: u64,
        took: u64,
        in_flight: u32,
        lesson: Lesson,
    ) -> Option<u32> {
        if self.window.closes == 0 {
            self.window = self.next_window(now);
        }
        match lesson {
            // One overload lowers the limit once, however late its victims time out, as with the lost packets of RFC 6582.
            Lesson::Dropped if now.saturating_sub(took) < self.lowered_at => return None,
            Lesson::Dropped => self.window.drops = self.window.drops.saturating_add(1),
            // What began under another limit says nothing about this one.
            _ if now < self.window.opens => return None,
            // One that was given up early might have taken no longer than the others.
            Lesson::GivenUp if self.mean == 0 || took <= self.mean => return None,
            Lesson::Took | Lesson::GivenUp => self.window.add(took, self.longest()),
        }
        self.window.in_flight = self.window.in_flight.max(in_flight);
        if self.window.ended() < Self::FEWEST || !self.window.is_over(now) {
            return None;
        }
        self.close(now)
    }

    /// Begins anew from another limit, within the bounds, and returns it.
    pub(crate) fn restart(&mut self, limit: u32) -> u32 {
        let limit = limit.clamp(self.bounds.min, self.bounds.max);
        self.limit = f64::from(limit);
        self.algorithm = (self.make)();
        self.window = Gathered::new(0, 0, 0);
        limit
    }

    /// Begins a window after one that closed at `now`.
    fn next_window(&self, now: u64) -> Gathered {
        let opens = now.saturating_add(self.mean);
        let length = self.length.max(self.mean.saturating_mul(2));
        let early = length.min(self.length.max(Self::EARLY));
        Gathered::new(
            opens,
            opens.saturating_add(length),
            now.saturating_add(early),
        )
    }

    /// The longest that a call counts for.
    fn longest(&self) -> u64 {
        match self.mean {
            0 => u64::MAX,
            mean => mean.saturating_mul(Self::MOST),
        }
    }

    fn close(&mut self, now: u64) -> Option<u32> {
        let window = self.window.finished(self.limit, self.mean);
        let wanted = self.ask(&window);
        self.mean = window.mean.as_nanos() as u64;
        self.window = self.next_window(now);
        let before = self.rounded();
        self.limit = wanted.clamp(f64::from(self.bounds.min), f64::from(self.bounds.max));
        let after = self.rounded();
        if after < before {
            self.lowered_at = now;
        }
        (before != after).then_some(after)
    }

    /// Asks for the next limit. One that is no number, or is to grow although half of it would do, stays as it is.
    fn ask(&mut self, window: &Window) -> f64 {
        let algorithm = &mut self.algorithm;
        // This may run while a call unwinds: a panic of the algorithm, let through, would abort the process.
        let asked = catch_unwind(AssertUnwindSafe(|| algorithm.update(window)));
        let wanted = asked.unwrap_or(self.limit);
        if wanted.is_nan() || (wanted > self.limit && window.is_app_limited()) {
            return self.limit;
        }
        wanted
    }

    fn rounded(&self) -> u32 {
        self.limit.round() as u32
    }
}

impl Gathered {
    fn new(opens: u64, closes: u64, closes_early: u64) -> Self {
        Self {
            opens,
            closes,
            closes_early,
            samples: 0,
            drops: 0,
            sum: 0,
            least: u64::MAX,
            most: 0,
            in_flight: 0,
        }
    }

    fn add(&mut self, took: u64, longest: u64) {
        let counted = took.min(longest);
        self.samples = self.samples.saturating_add(1);
        self.sum = self.sum.saturating_add(counted);
        self.least = self.least.min(took);
        self.most = self.most.max(counted);
    }

    fn ended(&self) -> u32 {
        self.samples.saturating_add(self.drops)
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.closes || (now >= self.closes_early && is_overloaded(self.samples, self.drops))
    }

    fn finished(&self, limit: f64, last_mean: u64) -> Window {
        // In the first window there is no mean yet that bounds what a call counts for: so the longest is left out.
        let (sum, samples) = match last_mean {
            0 if self.samples > 1 => (self.sum - self.most, self.samples - 1),
            _ => (self.sum, self.samples),
        };
        let mean = (sum.checked_div(u64::from(samples))).unwrap_or(last_mean);
        Window {
            limit,
            in_flight: self.in_flight,
            samples: self.samples,
            drops: self.drops,
            mean: Duration::from_nanos(mean),
            least: Duration::from_nanos(self.least.min(mean)),
        }
    }
}
