use crate::{State, epoch::Epoch};

/// Everything that admission needs: the epoch (32 bits), the probes in flight (16) and the probes that succeeded (16).
///
/// Read whole and changed by compare-and-swap. Probes are counted in a half-open breaker only; elsewhere both counts are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const IN_FLIGHT: u32 = 32;
const SUCCEEDED: u32 = 48;

impl Word {
    /// Begins an epoch, without probes.
    pub(crate) fn entering(epoch: Epoch) -> Self {
        Self(u64::from(epoch.bits()))
    }

    #[inline]
    pub(crate) fn of(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn epoch(self) -> Epoch {
        Epoch::of(self.0 as u32)
    }

    pub(crate) fn state(self) -> State {
        self.epoch().state()
    }

    pub(crate) fn in_flight(self) -> u16 {
        (self.0 >> IN_FLIGHT) as u16
    }

    pub(crate) fn succeeded(self) -> u16 {
        (self.0 >> SUCCEEDED) as u16
    }

    /// Adds a probe in flight, or returns `None` if `limit` probes are in flight or have succeeded.
    pub(crate) fn with_probe(self, limit: u16) -> Option<Self> {
        let taken = u32::from(self.in_flight()) + u32::from(self.succeeded());
        (taken < u32::from(limit)).then_some(Self(self.0 + (1 << IN_FLIGHT)))
    }

    /// Takes a probe out of flight; one that succeeded is counted.
    ///
    /// The caller holds a probe of this epoch, so that one is in flight.
    pub(crate) fn without_probe(self, succeeded: bool) -> Self {
        Self(self.0 - (1 << IN_FLIGHT) + (u64::from(succeeded) << SUCCEEDED))
    }
}
