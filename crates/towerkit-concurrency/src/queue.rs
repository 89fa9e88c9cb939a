use std::time::Duration;

use towerkit_core::ConfigError;

/// Bounds the size, the wait time and the order of the queue of a
/// [`QueuedConcurrencyLimitLayer`](crate::QueuedConcurrencyLimitLayer).
///
/// By default the queue is first in, first out. [`newest_first_after`](Self::newest_first_after) and
/// [`max_wait_under_overload`](Self::max_wait_under_overload) are for servers whose callers give up before a long queue is served.
///
/// ```
/// use std::time::Duration;
/// use towerkit_concurrency::Queue;
///
/// let queue = Queue::new(100, Duration::from_millis(50))?
///     .newest_first_after(Duration::from_millis(100))?
///     .max_wait_under_overload(Duration::from_millis(5), Duration::from_millis(100))?;
/// assert!(Queue::new(0, Duration::from_millis(50)).is_err());
/// # let _ = queue;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub(crate) size: u32,
    pub(crate) max_wait: u64,
    pub(crate) newest_first_after: Option<u64>,
    pub(crate) overload: Option<Overload>,
}

/// A shorter wait time in nanoseconds, and the time for which the queue must be non-empty before it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overload {
    pub(crate) max_wait: u64,
    pub(crate) after: u64,
}

impl Queue {
    /// The largest queue size.
    pub const MAX_SIZE: u32 = 1_000_000;

    /// Lets `size` calls wait for at most `max_wait` each; calls that wait longer are rejected and never run.
    ///
    /// Each partition has a queue of this size.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the size is 0 or above [`MAX_SIZE`](Self::MAX_SIZE), or the time is zero or more than a year.
    pub fn new(size: u32, max_wait: Duration) -> Result<Self, ConfigError> {
        if size == 0 || size > Self::MAX_SIZE {
            return Err(ConfigError::new("queue size", size, "1 to 1000000"));
        }
        Ok(Self {
            size,
            max_wait: ConfigError::check_duration("max_wait", max_wait)?,
            newest_first_after: None,
            overload: None,
        })
    }

    /// Serves the newest call first while the queue has been non-empty for at least `time` (adaptive LIFO).
    ///
    /// In a queue that stays non-empty the oldest calls have probably timed out at the caller, and the newest have the best chance
    /// of success. If such a queue is full, the oldest call is rejected instead of the new one. Source: Maurer,
    /// ["Fail at Scale"](https://queue.acm.org/detail.cfm?id=2839461), ACM Queue 13(8), 2015.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is zero or more than a year.
    pub fn newest_first_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.newest_first_after = Some(ConfigError::check_duration("newest_first_after", time)?);
        Ok(self)
    }

    /// Limits the wait of new calls to `max_wait` while the queue has been non-empty for at least `after` (controlled delay).
    ///
    /// A queue that absorbs bursts is empty from time to time; a queue that stays non-empty only adds latency. Maurer's values are
    /// 5 ms and 100 ms. Sources: Nichols and Jacobson, ["Controlling Queue Delay"](https://queue.acm.org/detail.cfm?id=2209336),
    /// ACM Queue 10(5), 2012, in the form of [Maurer](https://queue.acm.org/detail.cfm?id=2839461).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if a time is zero or more than a year, or `max_wait` exceeds the one given to [`new`](Self::new).
    pub fn max_wait_under_overload(
        mut self,
        max_wait: Duration,
        after: Duration,
    ) -> Result<Self, ConfigError> {
        const SETTING: &str = "max_wait_under_overload";
        let overload = Overload {
            max_wait: ConfigError::check_duration(SETTING, max_wait)?,
            after: ConfigError::check_duration("time until overload", after)?,
        };
        if overload.max_wait > self.max_wait {
            let usual = Duration::from_nanos(self.max_wait);
            let expected = format!("at most the usual max_wait of {usual:?}");
            return Err(ConfigError::new(SETTING, max_wait, expected));
        }
        self.overload = Some(overload);
        Ok(self)
    }
}
