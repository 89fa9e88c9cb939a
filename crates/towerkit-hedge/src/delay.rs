use crate::{
    histogram::Histogram,
    percentile::{Bounds, Percentile},
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// A millisecond, in nanoseconds.
const MILLI: u64 = 1_000_000;

/// How long a call waits before it is hedged, in microseconds; changed while calls go on.
///
/// All orderings are relaxed: each word means something by itself, and the bounds, which belong together, stand in one.
pub(crate) struct Delay {
    /// Packed [`Bounds`].
    bounds: AtomicU64,
    /// The quantile in millionths, and the minimum of samples.
    delay_source: AtomicU64,
    /// Half of the window, in milliseconds.
    half: AtomicU64,
    /// The quantile as it was worked out last, and when it is to be worked out again.
    quantile: AtomicU32,
    refresh_at: AtomicU64,
    histogram: Histogram,
}

impl Delay {
    /// How often the quantile is worked out in a half of the window.
    const REFRESHES: u64 = 64;

    /// Nobody knows yet, so that the ceiling holds.
    const UNKNOWN: u32 = u32::MAX;

    pub(crate) fn fixed(bounds: Bounds) -> Self {
        Self {
            bounds: AtomicU64::new(bounds.pack()),
            delay_source: AtomicU64::new(0),
            half: AtomicU64::new(0),
            quantile: AtomicU32::new(Self::UNKNOWN),
            refresh_at: AtomicU64::new(0),
            histogram: Histogram::new(),
        }
    }

    pub(crate) fn of(percentile: Percentile) -> Self {
        let delay = Self::fixed(percentile.bounds);
        delay.follow(percentile);
        delay
    }

    /// Waits always as long from now on.
    pub(crate) fn fix(&self, bounds: Bounds) {
        self.bounds.store(bounds.pack(), Ordering::Relaxed);
    }

    /// Follows a percentile from now on, of the samples that are there and of those to come.
    pub(crate) fn follow(&self, percentile: Percentile) {
        let delay_source = u64::from(percentile.quantile) << 32 | u64::from(percentile.minimum);
        self.delay_source.store(delay_source, Ordering::Relaxed);
        self.half.store(percentile.half, Ordering::Relaxed);
        self.refresh_at.store(0, Ordering::Relaxed);
        self.bounds
            .store(percentile.bounds.pack(), Ordering::Relaxed);
    }

    /// Returns the delay of a call that begins now, and the time, which is read only if the delay depends on it.
    #[inline(always)]
    pub(crate) fn of_call(&self, now: impl FnOnce() -> u64) -> (u32, Option<u64>) {
        match self.bounds().only() {
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

    /// Works the quantile out anew, unless another thread does.
    #[cold]
    #[inline(never)]
    fn refresh(&self, now: u64, due: u64) {
        let half = self.half.load(Ordering::Relaxed);
        let next = now.saturating_add(half * MILLI / Self::REFRESHES);
        let turn =
            self.refresh_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if turn.is_ok() {
            let delay_source = self.delay_source.load(Ordering::Relaxed);
            let (millionths, minimum) = ((delay_source >> 32) as u32, delay_source as u32);
            let quantile = self
                .histogram
                .quantile(now / MILLI, half, millionths, minimum);
            let quantile = quantile.unwrap_or(Self::UNKNOWN);
            self.quantile.store(quantile, Ordering::Relaxed);
        }
    }

    /// Counts a first attempt that began at `began` and was answered now, or, if it was not, took at least until now: that is worth
    /// counting only if it had taken longer than its delay.
    pub(crate) fn record(&self, began: u64, now: u64, is_answered: bool, delay: u32) {
        let micros = now.saturating_sub(began).div_ceil(1000);
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        if is_answered || micros >= delay {
            let half = self.half.load(Ordering::Relaxed);
            self.histogram.record(now / MILLI, half, micros);
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds::unpack(self.bounds.load(Ordering::Relaxed))
    }
}
