use std::fmt;

use towerkit_core::StateHandle;

use crate::{CircuitBreakerOptions, CircuitBreakerPolicy, CircuitBreakerSnapshot, Mode, State};

/// A handle on the breaker of a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) and its services.
///
/// Comes from [`CircuitBreakerLayer::handle`](crate::CircuitBreakerLayer::handle). It shows how the breaker stands, changes its options
/// and can take the decision from it, which lasts until [`release`](Self::release) whatever the results say.
#[derive(Clone)]
pub struct CircuitBreakerHandle(pub(crate) StateHandle<CircuitBreakerPolicy>);

impl CircuitBreakerHandle {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.get().settings().name
    }

    /// Returns the state.
    ///
    /// An open breaker whose time is over stays [`State::Open`] until the next call, which makes it half-open.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.get().machine().state()
    }

    /// Returns the state and the counts behind it.
    #[must_use]
    pub fn snapshot(&self) -> CircuitBreakerSnapshot {
        self.0.get().snapshot()
    }

    /// Returns the options that are in force.
    #[must_use]
    pub fn options(&self) -> CircuitBreakerOptions {
        self.0.get().machine().options()
    }

    /// Changes the options, all at once.
    ///
    /// The state stays as it is. Results stay counted where the new [`OpenWhen`](crate::Trip) counts the same things in the same windows,
    /// and the next of them is judged by the new limits; otherwise counting starts anew, and the calls that are in flight then do
    /// not count. An open breaker stays open for as long as it was going to.
    ///
    /// ```
    /// use std::time::Duration;
    /// use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};
    ///
    /// let breaker = CircuitBreakerLayer::new().handle();
    /// let options = breaker.options();
    /// breaker.update(options.open_when(OpenWhen::failure_rate(0.2, 100, 20)?).open_for(Duration::from_secs(30))?);
    /// # Ok::<_, towerkit_circuitbreaker::InvalidSetting>(())
    /// ```
    pub fn update(&self, options: CircuitBreakerOptions) {
        self.0.get().machine().update(options);
    }

    /// Rejects all calls until the breaker is released.
    pub fn force_open(&self) {
        self.switch(Mode::ForcedOpen);
    }

    /// Admits all calls until the breaker is released. Results are counted, so that a snapshot shows how they would be judged.
    pub fn force_closed(&self) {
        self.switch(Mode::ForcedClosed);
    }

    /// Admits all calls, and counts nothing, until the breaker is released.
    pub fn disable(&self) {
        self.switch(Mode::Disabled);
    }

    /// Admits all calls until the breaker is released, which otherwise goes on: it counts, opens and closes.
    ///
    /// So it shows what it would do, in its state, its events and [`CircuitBreakerSnapshot::let_through`]. The state stays as it is, unless it was
    /// forced: then the breaker is closed and has counted nothing yet.
    pub fn observe(&self) {
        self.switch(Mode::Observing);
    }

    /// Ends all of these: the breaker decides, is closed, and has counted nothing yet. Does nothing if it decides already.
    pub fn release(&self) {
        self.switch(Mode::Automatic);
    }

    fn switch(&self, mode: Mode) {
        let policy = self.0.get();
        policy.machine().switch(mode);
        policy.machine().deliver();
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
