use std::fmt;

use towerkit_core::{Name, StateHandle};

use crate::{
    config::CircuitBreakerOptions,
    guard::CircuitBreakerPolicy,
    state::{CircuitBreakerSnapshot, Mode, State},
};

/// Observes, updates and overrides the circuit breaker of a layer and its services.
///
/// Returned by [`CircuitBreakerLayer::handle`](crate::CircuitBreakerLayer::handle). An override, such as
/// [`force_open`](Self::force_open), lasts until [`release`](Self::release).
#[derive(Clone)]
pub struct CircuitBreakerHandle(pub(crate) StateHandle<CircuitBreakerPolicy>);

impl CircuitBreakerHandle {
    /// Returns the name of the breaker, as in its rejections and events.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.get().config().name.clone()
    }

    /// Returns the state.
    ///
    /// After its open duration a breaker stays [`State::Open`] until the next call, which makes it half-open.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.get().machine().state()
    }

    /// Returns the state and the counts behind it.
    #[must_use]
    pub fn snapshot(&self) -> CircuitBreakerSnapshot {
        self.0.get().snapshot()
    }

    /// Returns the current options.
    #[must_use]
    pub fn options(&self) -> CircuitBreakerOptions {
        self.0.get().machine().options()
    }

    /// Replaces the options, all at once, while the breaker runs.
    ///
    /// The state stays as it is, and an open breaker stays open for as long as before. The counts stay if the new
    /// [`OpenWhen`](crate::OpenWhen) counts the same results in the same windows; the next result is then compared with the new
    /// thresholds. Otherwise counting starts again, and calls that are in flight at this moment do not count.
    ///
    /// ```
    /// use std::time::Duration;
    /// use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};
    ///
    /// let breaker = CircuitBreakerLayer::new().handle();
    /// let options = breaker
    ///     .options()
    ///     .open_when(OpenWhen::failure_rate(0.2, 100, 20)?)
    ///     .open_for(Duration::from_secs(30))?;
    /// breaker.update(options);
    /// assert_eq!(breaker.options(), options);
    /// # Ok::<_, towerkit_core::ConfigError>(())
    /// ```
    pub fn update(&self, options: CircuitBreakerOptions) {
        self.0.get().machine().update(options);
    }

    /// Rejects all calls until [`release`](Self::release).
    pub fn force_open(&self) {
        self.set_mode(Mode::ForcedOpen);
    }

    /// Admits all calls until [`release`](Self::release).
    ///
    /// Results are counted, and appear in a [`snapshot`](Self::snapshot).
    pub fn force_closed(&self) {
        self.set_mode(Mode::ForcedClosed);
    }

    /// Admits all calls until [`release`](Self::release), without counting results.
    pub fn disable(&self) {
        self.set_mode(Mode::Disabled);
    }

    /// Admits all calls until [`release`](Self::release), but opens and closes as usual.
    ///
    /// The state, the events and [`CircuitBreakerSnapshot::let_through`] show how the breaker would act. It starts from its present
    /// state and counts, or, if it was [forced](State::is_forced), closed and with empty windows.
    pub fn observe(&self) {
        self.set_mode(Mode::Observing);
    }

    /// Ends an override: the breaker is closed, its windows are empty, and it decides by itself again.
    ///
    /// Without an override this does not change the breaker.
    pub fn release(&self) {
        self.set_mode(Mode::Automatic);
    }

    fn set_mode(&self, mode: Mode) {
        let policy = self.0.get();
        policy.machine().set_mode(mode);
        policy.machine().deliver();
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
