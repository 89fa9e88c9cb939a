use std::time::Duration;

use towerkit_core::{
    AsGuard, ConfigError, LayerState, Plain, PolicyLayer, PolicyService, layer_setters,
    policy_layer,
};

use super::{
    guard::{AdaptiveThrottlePolicy, Config},
    handle::AdaptiveThrottleHandle,
};

/// Rejects calls in the client that an overloaded upstream would probably reject.
///
/// An overloaded upstream spends its time on rejections, and a client that keeps sending makes the overload worse. This layer counts
/// the calls of the last two minutes and the calls that the upstream accepted, and rejects a call with the probability
///
/// ```text
/// max(0, (calls - K * accepted) / (calls + 1))
/// ```
///
/// so that about `K` calls are sent for each accepted call. `calls` includes the calls that the throttle rejects.
///
/// The first ten calls of a window are always sent. While calls are rejected, one call per second is sent regardless of the probability,
/// so that the throttle notices a recovery.
///
/// Source: Site Reliability Engineering, chapter 21, ["Client-Side Throttling"](https://sre.google/sre-book/handling-overload/).
///
/// # Accepted calls
///
/// The upstream accepted a call if it responded, even with an error, unless the outcome is
/// [`Overloaded`](towerkit_core::Outcome::Overloaded) or [`TimedOut`](towerkit_core::Outcome::TimedOut). A call is accepted at the
/// head of its response, so long streams count at once. A call is not accepted if it failed without a response, was
/// [rejected](towerkit_core::Rejection) by an inner layer, panicked, or was cancelled before its response. A call that an outer timeout
/// ends, and the losing attempt of a hedged call, are cancelled in this sense; the default `K` of 2 tolerates half of all calls.
#[derive(Debug, Clone)]
pub struct AdaptiveThrottleLayer<P = Plain> {
    policies: PolicyLayer<AsGuard<AdaptiveThrottlePolicy>, P>,
    state: LayerState<AdaptiveThrottlePolicy>,
}

/// The service of an [`AdaptiveThrottleLayer`].
pub type AdaptiveThrottle<S, P = Plain> = PolicyService<S, AsGuard<AdaptiveThrottlePolicy>, P>;

impl AdaptiveThrottleLayer {
    /// Creates a throttle with `K = 2` and a window of two minutes.
    #[must_use]
    pub fn new() -> Self {
        let throttle = AdaptiveThrottlePolicy::new(Config::default());
        Self {
            policies: PolicyLayer::new(AsGuard::new(throttle.clone()), Plain::default()),
            state: LayerState::new(throttle),
        }
    }
}

impl Default for AdaptiveThrottleLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> AdaptiveThrottleLayer<P> {
    /// Sends about `multiplier` calls for each accepted call, the `K` of the formula; 2 by default.
    ///
    /// A smaller value sends less load to the upstream, and notices its recovery later.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] unless it is finite and above 1: at 1 every rejection would cause further ones.
    pub fn multiplier(self, multiplier: f64) -> Result<Self, ConfigError> {
        if !(multiplier > 1.0 && multiplier.is_finite()) {
            let expected = "a finite number above 1";
            return Err(ConfigError::new("multiplier", multiplier, expected));
        }
        Ok(self.with(|config| config.multiplier = multiplier))
    }

    /// Sets the time over which calls are counted, with a resolution of a 24th; two minutes by default.
    ///
    /// After an outage the rate of sent calls grows by the factor e in 0.63 windows. A shorter window recovers sooner, and reacts
    /// more to short disturbances.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if it is zero or more than a year.
    pub fn window(self, window: Duration) -> Result<Self, ConfigError> {
        let window = ConfigError::check_duration("window", window)?;
        Ok(self.with(|config| config.window = window))
    }

    /// Sends a call when none was sent for this time; one second by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if it is zero or more than a year.
    pub fn probe_interval(self, interval: Duration) -> Result<Self, ConfigError> {
        let interval = ConfigError::check_duration("probe_interval", interval)?;
        Ok(self.with(|config| config.probe_interval = interval))
    }

    layer_setters!(
        /// Rejections carry the name.
        name = "throttle",
        clock
    );

    /// Returns a handle that reads the state that all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> AdaptiveThrottleHandle {
        AdaptiveThrottleHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.policies.policy().get().config().clone();
        set(&mut config);
        let throttle = AdaptiveThrottlePolicy::new(config);
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.state.replace(throttle.clone());
        *self.policies.policy_mut().get_mut() = throttle;
        self
    }
}

policy_layer!(
    AdaptiveThrottleLayer { state },
    AsGuard<AdaptiveThrottlePolicy>,
    Plain
);
