use crate::{
    histogram::Histogram,
    percentile::{Bounds, Percentile},
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// A millisecond, in nanoseconds.
const MILLI: u64 = 1_000_000;

/// The delay of a hedge, in microseconds; a handle may change it at run time.
///
/// All orderings are relaxed: each word is complete by itself, and both bounds are in one word.
pub(crate) struct Delay {
    /// Packed [`Bounds`].
    bounds: AtomicU64,
    /// The quantile in millionths, and the minimum number of samples.
    delay_source: AtomicU64,
    /// The length of an interval of the [`Histogram`], in milliseconds.
    interval: AtomicU64,
    /// The latest quantile, and the time of the next computation.
    quantile: AtomicU32,
    refresh_at: AtomicU64,
    histogram: Histogram,
}

impl Delay {
    /// The number of computations of the quantile per interval.
    const REFRESHES: u64 = 64;

    /// There are too few samples, so that the delay is the ceiling.
    const UNKNOWN: u32 = u32::MAX;

    pub(crate) fn fixed(bounds: Bounds) -> Self {
        Self {
            bounds: AtomicU64::new(bounds.pack()),
            delay_source: AtomicU64::new(0),
            interval: AtomicU64::new(0),
            quantile: AtomicU32::new(Self::UNKNOWN),
            refresh_at: AtomicU64::new(0),
            histogram: Histogram::new(),
        }
    }

    pub(crate) fn of(percentile: Percentile) -> Self {
        let delay = Self::fixed(percentile.bounds);
        delay.set_percentile(percentile);
        delay
    }

    /// Makes the delay fixed.
    pub(crate) fn set_fixed(&self, bounds: Bounds) {
        self.bounds.store(bounds.pack(), Ordering::Relaxed);
    }

    /// Makes the delay a percentile of the samples, including earlier ones.
    pub(crate) fn set_percentile(&self, percentile: Percentile) {
        let delay_source = u64::from(percentile.quantile) << 32 | u64::from(percentile.minimum);
        self.delay_source.store(delay_source, Ordering::Relaxed);
        self.interval.store(percentile.interval, Ordering::Relaxed);
        self.refresh_at.store(0, Ordering::Relaxed);
        self.bounds
            .store(percentile.bounds.pack(), Ordering::Relaxed);
    }

    /// Returns the delay of a call that starts now, and the time, which is read only if the delay depends on it.
    #[inline(always)]
    pub(crate) fn for_call(&self, now: impl FnOnce() -> u64) -> (u32, Option<u64>) {
        match self.bounds().as_fixed() {
            Some(fixed) => (fixed, None),
            None => {
                let now = now();
                (self.at(now), Some(now))
            }
        }
    }

    pub(crate) fn at(&self, now: u64) -> u32 {
        let due = self.refresh_at.load(Ordering::Relaxed);
        if now >= due {
            self.refresh(now, due);
        }
        self.bounds().clamp(self.quantile.load(Ordering::Relaxed))
    }

    /// Computes the quantile, unless another thread does.
    #[cold]
    #[inline(never)]
    fn refresh(&self, now: u64, due: u64) {
        let interval = self.interval.load(Ordering::Relaxed);
        let next = now.saturating_add(interval * MILLI / Self::REFRESHES);
        let claimed =
            self.refresh_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_ok() {
            let delay_source = self.delay_source.load(Ordering::Relaxed);
            let (millionths, minimum) = ((delay_source >> 32) as u32, delay_source as u32);
            let quantile = self
                .histogram
                .quantile(now / MILLI, interval, millionths, minimum);
            let quantile = quantile.unwrap_or(Self::UNKNOWN);
            self.quantile.store(quantile, Ordering::Relaxed);
        }
    }

    /// Records the latency of a first attempt from `started` to `now`.
    ///
    /// The latency of an attempt without a response is only a lower bound, and is recorded only if it exceeds the delay.
    pub(crate) fn record(&self, started: u64, now: u64, has_response: bool, delay: u32) {
        let micros = now.saturating_sub(started).div_ceil(1000);
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        if has_response || micros >= delay {
            let interval = self.interval.load(Ordering::Relaxed);
            self.histogram.record(now / MILLI, interval, micros);
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds::unpack(self.bounds.load(Ordering::Relaxed))
    }
}
