use std::time::Duration;

use crate::{
    InvalidSetting,
    invalid::{Problem, nanos},
};

/// Where calls wait for room: how many of them, for how long, and who is next.
///
/// By default the oldest is next. [`newest_first_after`](Self::newest_first_after) and [`age_under_overload`](Self::age_under_overload)
/// are for servers whose callers give up before a long queue is worked off.
///
/// ```
/// use std::time::Duration;
/// use towerkit_concurrency::Queue;
///
/// let queue = Queue::new(100, Duration::from_millis(50))?
///     .newest_first_after(Duration::from_millis(100))?
///     .age_under_overload(Duration::from_millis(5), Duration::from_millis(100))?;
/// assert!(Queue::new(0, Duration::from_millis(50)).is_err());
/// # let _ = queue;
/// # Ok::<_, towerkit_concurrency::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub(crate) size: u32,
    pub(crate) age: u64,
    pub(crate) newest_first: Option<u64>,
    pub(crate) overload: Option<Overload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overload {
    pub(crate) age: u64,
    pub(crate) after: u64,
}

impl Queue {
    /// The longest queue that there may be.
    pub const MAX_SIZE: u32 = 1_000_000;

    /// Lets `size` calls wait, each of them no longer than `age`; a call that has waited so long is rejected and never runs.
    ///
    /// Where there are partitions, each has a queue of that size.
    ///
    /// # Errors
    ///
    /// If the size is 0 or above a million, or the age is zero or more than a year.
    pub fn new(size: u32, age: Duration) -> Result<Self, InvalidSetting> {
        if size == 0 || size > Self::MAX_SIZE {
            return Err(InvalidSetting(Problem::QueueSize(size)));
        }
        Ok(Self {
            size,
            age: nanos("age limit of the queue", age)?,
            newest_first: None,
            overload: None,
        })
    }

    /// Serves the newest call first once the queue has stood for `standing` without being empty (adaptive LIFO).
    ///
    /// A queue that stands holds calls that will be too late whatever happens; the newest have the best chance. If it is full then,
    /// the oldest call is rejected instead of the new one. Source: Maurer, "Fail at Scale", ACM Queue 13(8), 2015.
    ///
    /// # Errors
    ///
    /// If the time is zero or more than a year.
    pub fn newest_first_after(mut self, standing: Duration) -> Result<Self, InvalidSetting> {
        self.newest_first = Some(nanos("time until the newest is first", standing)?);
        Ok(self)
    }

    /// Gives a call that comes once the queue has stood for `standing` without being empty the age limit `age` (controlled delay).
    ///
    /// A queue that evens out bursts is empty now and then; one that is not only adds delay. Maurer's values are 5 ms and 100 ms.
    /// Sources: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012, in the form of Maurer, as above.
    ///
    /// # Errors
    ///
    /// If a time is zero or more than a year, or the age is above the one given to [`new`](Self::new).
    pub fn age_under_overload(
        mut self,
        age: Duration,
        standing: Duration,
    ) -> Result<Self, InvalidSetting> {
        let overload = Overload {
            age: nanos("age limit under overload", age)?,
            after: nanos("time until overload", standing)?,
        };
        if overload.age > self.age {
            return Err(InvalidSetting(Problem::Order {
                age: Duration::from_nanos(self.age),
                target: age,
            }));
        }
        self.overload = Some(overload);
        Ok(self)
    }
}
