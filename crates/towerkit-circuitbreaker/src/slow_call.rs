use std::time::Duration;

use crate::{InvalidSetting, invalid::nanos};

/// When a call is slow, for [`OpenWhen::slow_rate`](crate::Trip::slow_rate).
///
/// A [`Duration`] turns into one: a call is slow that ran longer, from its start to its end.
///
/// ```
/// use std::time::Duration;
/// use towerkit_circuitbreaker::{SlowCall, OpenWhen};
///
/// // A callee that does not begin to answer for two seconds, at a client that reads answers at its own pace.
/// let slow = SlowCall::longer_than(Duration::from_secs(2)).to_head().while_in_flight();
/// let open_when = OpenWhen::slow_rate(0.5, slow, 100, 20)?;
/// # let _ = open_when;
/// # Ok::<_, towerkit_circuitbreaker::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowCall {
    after: Duration,
    to_head: bool,
    while_in_flight: bool,
}

impl SlowCall {
    /// A call that runs longer than `time`.
    ///
    /// Over HTTP a call runs to the end of its body, so that a reader who takes its time makes it slow.
    #[must_use]
    pub fn longer_than(time: Duration) -> Self {
        Self {
            after: time,
            to_head: false,
            while_in_flight: false,
        }
    }

    /// Measures a call to the head of its response; to its end by default.
    ///
    /// A call that ends without a head is measured to its end. The result counts when the call ends.
    #[must_use]
    pub fn to_head(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// Counts a call as slow while it is still in flight; when it ends by default.
    ///
    /// So calls that hang open the breaker before anything ends them. They are looked for when any call of the breaker begins or ends
    /// and when a snapshot is taken: a call counts at the first such moment at which it has run for a fourteenth longer than the
    /// threshold, and exactly once. Whether it succeeded or failed is counted when it ends.
    ///
    /// What will become of the call is not known then: it counts though a layer further in may reject it later, and though a
    /// [verdict](crate::CircuitBreakerLayer::count_as) may ignore it. This costs two atomic writes for each call, and 150 bytes for each
    /// breaker.
    #[must_use]
    pub fn while_in_flight(mut self) -> Self {
        self.while_in_flight = true;
        self
    }

    pub(crate) fn checked(self) -> Result<Slow, InvalidSetting> {
        Ok(Slow {
            after: nanos("slow threshold", self.after)?,
            to_head: self.to_head,
            while_in_flight: self.while_in_flight,
        })
    }
}

impl From<Duration> for SlowCall {
    fn from(time: Duration) -> Self {
        Self::longer_than(time)
    }
}

/// A [`SlowCall`] whose time fits in 64 bits of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) after: u64,
    pub(crate) to_head: bool,
    pub(crate) while_in_flight: bool,
}

impl Slow {
    /// Returns what must be the same for calls in flight to be counted on.
    pub(crate) fn counting(self) -> (bool, Option<u64>) {
        (self.to_head, self.while_in_flight.then_some(self.after))
    }
}
