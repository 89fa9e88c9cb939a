use std::time::Duration;

use towerkit_core::{Call, ConfigError};
use towerkit_discovery::Instance;

use crate::{BuildTable, Candidates, P2c, Picker, p2c::P2cTable};

/// Draws two instances at random and chooses the one with the lower latency, multiplied by its calls in flight.
///
/// The latency is that of [Finagle's peak EWMA]: a rise counts at once, a fall as an exponentially weighted moving average over 10
/// seconds. It is measured to the head of the response, or to the result of a call without a head. A failed call counts as one that
/// took at least the [failure penalty](crate::BalanceLayer::failure_penalty).
///
/// Weights divide the cost, and are approximate. Each call reads the clock twice, so that
/// [`Clock::fast`](towerkit_core::Clock) is worth its while.
///
/// [Finagle's peak EWMA]: https://twitter.github.io/finagle/guide/Clients.html#power-of-two-choices-p2c-least-loaded
#[derive(Debug, Clone, Copy)]
pub struct PeakEwma {
    floor_micros: f32,
}

/// The cost of each call in flight to an instance whose latency is not known yet: it gets a first call, and no others meanwhile.
const UNKNOWN_MICROS: f32 = 1e12;

impl PeakEwma {
    /// Makes the picker, with a floor of 1 ms.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            floor_micros: 1_000.0,
        }
    }

    /// Adds `floor` to every latency; 1 ms by default.
    ///
    /// Differences of latency far below the floor do not count. Without a floor, instances that answer within microseconds are chosen
    /// by noise.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `floor` is not from 1 ns to 365 days.
    pub fn floor(self, floor: Duration) -> Result<Self, ConfigError> {
        let nanos = ConfigError::check_duration("floor", floor)?;
        Ok(Self {
            floor_micros: nanos as f32 / 1_000.0,
        })
    }
}

impl BuildTable for PeakEwma {
    type Table = P2cTable;
    const MEASURES_LATENCY: bool = true;

    fn build_table(&self, instances: &[Instance]) -> P2cTable {
        P2c::new().build_table(instances)
    }
}

impl<Req> Picker<Req> for PeakEwma {
    #[inline(always)]
    fn pick(
        &self,
        table: &P2cTable,
        candidates: &impl Candidates,
        _call: &Call<'_, Req>,
        _draw: u32,
    ) -> usize {
        table.choose(candidates.count(), |index, reciprocal| {
            let load = candidates.load(index);
            match candidates.latency(index) {
                Some(latency) => {
                    let cost = (latency + self.floor_micros) * reciprocal;
                    (cost * (load + 1.0), cost * (load + 1.5))
                }
                None => (load * UNKNOWN_MICROS, load * UNKNOWN_MICROS),
            }
        })
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}
