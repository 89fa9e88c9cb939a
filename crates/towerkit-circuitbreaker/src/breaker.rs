use std::{fmt, sync::Arc};

use crate::{State, epoch::Epoch, machine::Machine, settings::Settings};

/// A circuit breaker, shared by the layer, its services and whoever holds a handle.
///
/// Comes from [`CircuitBreakerLayer::handle`](crate::CircuitBreakerLayer::handle). It shows how the breaker stands and can force a
/// state, which lasts until [`release`](Self::release) whatever the results say.
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
}

impl Shared {
    /// Whether the success of a call that was admitted in `held` changes nothing, whatever a verdict of the user's would say.
    #[inline]
    pub(crate) fn is_spotless(&self, held: Epoch) -> bool {
        self.settings.verdict.is_none() && self.machine.is_spotless(held)
    }
}

impl CircuitBreaker {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            machine: Machine::new(&settings),
            settings,
        }))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.settings.name
    }

    /// Returns the state.
    ///
    /// An open breaker whose time is over stays [`State::Open`] until the next call, which makes it half-open.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.machine.state()
    }

    /// Returns the state and the counts behind it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.machine.snapshot()
    }

    /// Refuses all calls until the breaker is released.
    pub fn force_open(&self) {
        self.0.machine.force(State::ForcedOpen);
    }

    /// Admits all calls until the breaker is released. Results are counted, so that a snapshot shows how they would be judged.
    pub fn force_closed(&self) {
        self.0.machine.force(State::ForcedClosed);
    }

    /// Admits all calls, and counts nothing, until the breaker is released.
    pub fn disable(&self) {
        self.0.machine.force(State::Disabled);
    }

    /// Ends a forced state: the breaker is closed and has counted nothing yet. Does nothing in any other state.
    pub fn release(&self) {
        self.0.machine.release();
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name())
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

/// How a breaker stands, see [`CircuitBreaker::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// The results in the window or, where failures in a row are counted, as many as `failures`. Counted in a closed breaker.
    pub results: u32,
    /// The failures among them.
    pub failures: u32,
    /// The probes of a half-open breaker that have not ended.
    pub probes_in_flight: u16,
    /// The probes of a half-open breaker that succeeded.
    pub probes_succeeded: u16,
}
