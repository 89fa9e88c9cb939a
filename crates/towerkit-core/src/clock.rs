use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::fast_clock::FastClock;

/// A monotonic clock that reads nanoseconds since an origin of its own.
///
/// Each layer that measures time has one; the default is [`Clock::monotonic`]. Timers, which wait, use `tokio::time` instead.
///
/// Two clocks of the same kind have the same origin, so that the policies of a stack share one reading.
///
/// ```
/// use std::time::Duration;
/// use towerkit_core::Clock;
///
/// let (clock, clock_control) = Clock::manual();
/// let before = clock.now();
/// clock_control.advance(Duration::from_millis(5));
/// assert_eq!(clock.now() - before, 5_000_000);
/// ```
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Monotonic(Instant),
    Fast(FastClock),
    Manual(Arc<AtomicU64>),
    Custom(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Clock {
    /// Reads the operating system's monotonic clock: exact, about 24 ns a reading. The default.
    #[must_use]
    pub fn monotonic() -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Self(Source::Monotonic(*ORIGIN.get_or_init(Instant::now)))
    }

    /// Reads the processor's counter: about 10 ns a reading.
    ///
    /// It can drift from real time (tens of microseconds a second have been measured) and, on some machines, go back when a thread
    /// moves to another core. The state machines of towerkit use the latest reading that they have seen, so that this costs only
    /// accuracy.
    #[cfg(feature = "fast-clock")]
    #[must_use]
    pub fn fast() -> Self {
        Self(Source::Fast(FastClock::new()))
    }

    /// Makes a clock for tests that stands still until its [`ManualClock`] moves it.
    #[must_use]
    pub fn manual() -> (Self, ManualClock) {
        let nanos = Arc::new(AtomicU64::new(ManualClock::ORIGIN));
        (Self(Source::Manual(nanos.clone())), ManualClock(nanos))
    }

    /// Reads time from a function that returns the duration since a fixed point in time.
    ///
    /// `towerkit-test` uses it to follow the paused time of tokio.
    #[must_use]
    pub fn custom(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(read)))
    }

    /// Returns the nanoseconds since the origin of the clock. Saturates at [`u64::MAX`], after 584 years.
    #[inline(always)]
    #[must_use]
    pub fn now(&self) -> u64 {
        match &self.0 {
            Source::Monotonic(origin) => {
                // The duration since the start of the process is too short to overflow.
                let elapsed = origin.elapsed();
                elapsed
                    .as_secs()
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(u64::from(elapsed.subsec_nanos()))
            }
            Source::Fast(clock) => clock.now(),
            source => source.read(),
        }
    }

    /// Returns the kind of a clock that can be made again without a copy of it; `None` for clocks of a program's own.
    #[inline(always)]
    pub(crate) fn shared_kind(&self) -> Option<SharedClock> {
        match &self.0 {
            Source::Monotonic(_) => Some(SharedClock::Monotonic),
            Source::Fast(_) => Some(SharedClock::Fast),
            Source::Manual(_) | Source::Custom(_) => None,
        }
    }

    /// Returns true if readings of the two clocks can be compared.
    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    /// Returns a number that differs for clocks with different origins, so that their readings are not mixed.
    #[inline(always)]
    fn origin(&self) -> usize {
        match &self.0 {
            Source::Monotonic(_) => 1,
            Source::Fast(_) => 2,
            Source::Manual(now) => Arc::as_ptr(now).addr(),
            Source::Custom(read) => Arc::as_ptr(read).addr(),
        }
    }
}

/// The clocks of which a process has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedClock {
    Monotonic,
    Fast,
}

impl SharedClock {
    /// Returns the clock.
    pub(crate) fn clock(self) -> Clock {
        match self {
            Self::Monotonic => Clock::monotonic(),
            Self::Fast => FastClock::shared()
                .map_or_else(Clock::monotonic, |clock| Clock(Source::Fast(clock))),
        }
    }
}

#[inline(always)]
fn nanos(duration: Duration) -> u64 {
    // A u64 of seconds times 10^9 would overflow long after the sun has gone out; saturating costs nothing here.
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

impl Source {
    /// Reads a clock of any kind, out of the way of those that calls are measured on.
    #[cold]
    fn read(&self) -> u64 {
        match self {
            Self::Monotonic(origin) => nanos(origin.elapsed()),
            Self::Fast(clock) => clock.now(),
            Self::Manual(now) => now.load(Ordering::Acquire),
            Self::Custom(read) => nanos(read()),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::monotonic()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::Monotonic(_) => "Clock::monotonic",
            Source::Fast(_) => "Clock::fast",
            Source::Manual(_) => "Clock::manual",
            Source::Custom(_) => "Clock::custom",
        })
    }
}

/// Moves the time of a [`Clock::manual`].
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A manual clock starts one hour after its origin, so that a test can also set it back.
    const ORIGIN: u64 = 3_600_000_000_000;

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = nanos(by);
        // Release pairs with the Acquire of `now`: a thread that sees the new time sees the writes before it.
        let _ = self
            .0
            .fetch_update(Ordering::Release, Ordering::Relaxed, |now| {
                Some(now.saturating_add(by))
            });
    }

    /// Sets the clock to `nanos` since its origin, forward or back.
    pub fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Release);
    }
}

/// A reading that is taken when it is first needed, and shared by all policies with the same clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    origin: usize,
    nanos: u64,
}

impl Reading {
    #[inline(always)]
    pub(crate) fn of(self, clock: &Clock) -> Self {
        // The first test folds away where nothing was read before, and the origin with it where nothing is read after.
        if self.origin != 0 && self.origin == clock.origin() {
            return self;
        }
        Self {
            origin: clock.origin(),
            nanos: clock.now(),
        }
    }

    #[inline(always)]
    pub(crate) fn nanos(self) -> u64 {
        self.nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_on_one_kind_of_clock_share_a_reading() {
        let (clock, clock_control) = Clock::manual();
        let reading = Reading::default().of(&clock);
        clock_control.advance(Duration::from_secs(1));
        assert_eq!(reading.of(&clock.clone()).nanos(), reading.nanos());
        assert_eq!(
            Reading::default().of(&clock).nanos(),
            reading.nanos() + 1_000_000_000
        );
    }

    #[test]
    fn a_reading_is_never_taken_for_one_of_another_clock() {
        let (here, _) = Clock::manual();
        let (there, clock_control) = Clock::manual();
        clock_control.advance(Duration::from_secs(9));
        let reading = Reading::default().of(&here);
        assert_eq!(reading.of(&there).nanos(), there.now());
    }

    #[test]
    fn time_saturates() {
        let (clock, clock_control) = Clock::manual();
        clock_control.advance(Duration::MAX);
        clock_control.advance(Duration::MAX);
        assert_eq!(clock.now(), u64::MAX);
        assert_eq!(Clock::custom(|| Duration::MAX).now(), u64::MAX);
    }

    #[test]
    fn the_default_clock_goes_forward() {
        let clock = Clock::default();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
