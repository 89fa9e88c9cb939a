use std::{sync::Arc, time::Duration};

use towerkit_core::{
    AsGuard, CallEnd, ConfigError, CountAs, LayerState, Plain, PolicyLayer, PolicyService,
    layer_setters, policy_layer,
};

use crate::{
    config::{CircuitBreakerOptions, Config},
    guard::CircuitBreakerPolicy,
    handle::CircuitBreakerHandle,
    open_duration::OpenDuration,
    open_when::OpenWhen,
};

/// Stops calls to an upstream that fails, and probes it until it has recovered.
///
/// All services that one layer makes share one breaker. A breaker for each host or tenant is a
/// [`KeyedCircuitBreakerLayer`](crate::KeyedCircuitBreakerLayer).
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<P = Plain> {
    policies: PolicyLayer<AsGuard<CircuitBreakerPolicy>, P>,
    state: LayerState<CircuitBreakerPolicy>,
}

/// The service that a [`CircuitBreakerLayer`] makes.
pub type CircuitBreaker<S, P = Plain> = PolicyService<S, AsGuard<CircuitBreakerPolicy>, P>;

impl CircuitBreakerLayer {
    /// Makes a closed breaker with the default options.
    #[must_use]
    pub fn new() -> Self {
        let breaker = CircuitBreakerPolicy::new(Config::default());
        Self {
            policies: PolicyLayer::new(AsGuard::new(breaker.clone()), Plain::default()),
            state: LayerState::new(breaker),
        }
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// The setters that all layers of this crate have, for a layer with `config(&self)` and `with(self, FnOnce(&mut Config))`.
macro_rules! setters {
    () => {
        /// Sets the condition that opens a breaker.
        ///
        /// By default half of the last 100 results are failures, once there are 20 results.
        #[must_use]
        pub fn open_when(self, open_when: OpenWhen) -> Self {
            self.with(|config| config.options = config.options.open_when(open_when))
        }

        /// Sets how long the breaker stays open; 10 seconds by default.
        ///
        /// # Errors
        ///
        /// If `duration` is zero or does not fit into 64 bits of nanoseconds (584 years).
        pub fn open_for(self, duration: Duration) -> Result<Self, ConfigError> {
            OpenDuration::new(duration).map(|duration| self.open_duration(duration))
        }

        /// Sets how long the breaker stays open, with backoff or jitter.
        #[must_use]
        pub fn open_duration(self, open_duration: OpenDuration) -> Self {
            self.with(|config| config.options = config.options.open_duration(open_duration))
        }

        /// Sets how many probes must succeed to close a half-open breaker; 1 by default.
        ///
        /// A half-open breaker admits no more calls than that.
        ///
        /// # Errors
        ///
        /// If `probes` is not 1 to 1023.
        pub fn probes(self, probes: u16) -> Result<Self, ConfigError> {
            let options = self.config().options.probes(probes)?;
            Ok(self.options(options))
        }

        /// Sets when another call may replace a probe; after 1 minute by default.
        ///
        /// See [`CircuitBreakerOptions::probe_timeout`].
        ///
        /// # Errors
        ///
        /// If `timeout` is zero or does not fit into 64 bits of nanoseconds (584 years).
        pub fn probe_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
            let options = self.config().options.probe_timeout(timeout)?;
            Ok(self.options(options))
        }

        /// Sets all of the above at once.
        #[must_use]
        pub fn options(self, options: CircuitBreakerOptions) -> Self {
            self.with(|config| config.options = options)
        }

        /// Sets how a call that has ended counts; [`CountAs::of`] by default.
        ///
        /// A [failure](CountAs::Failure) opens a [half-open](crate::State::HalfOpen) breaker at once. A call that is
        /// [ignored](CountAs::Ignored) because it was cancelled still counts as slow if it ran for too long and
        /// [slow calls](crate::SlowCall) count. A panic of the inner service is always a failure. If `count_as` itself panics, the
        /// default applies to the call.
        #[must_use]
        pub fn count_as(
            self,
            count_as: impl Fn(&CallEnd) -> CountAs + Send + Sync + 'static,
        ) -> Self {
            self.with(|config| config.count_as = Some(Arc::new(count_as)))
        }

        layer_setters!(
            /// Rejections and events carry the name: give each breaker that of its upstream.
            name = "circuitbreaker",
            /// A closed breaker reads it only for windows over time, at the end of each call, and for slow calls, also at the start.
            clock,
            /// Each change of [`State`](crate::State) is an [`Event::CircuitChanged`](towerkit_core::Event::CircuitChanged).
            events
        );

        /// Sets the seed of the [jitter](OpenDuration::jitter), so that it can be repeated; random by default.
        #[must_use]
        pub fn seed(self, seed: u64) -> Self {
            self.with(|config| config.seed = Some(seed))
        }
    };
}

pub(crate) use setters;

impl<P> CircuitBreakerLayer<P> {
    setters!();

    /// Keeps services unready while the breaker would reject a call, for load balancers.
    ///
    /// A balancer prefers the instance with the fewest calls in flight. An instance with a breaker that rejects at once has none, so
    /// that the failing instance looks idle and attracts the calls. With this option it is not ready, and the balancer uses another
    /// instance. Give each instance a breaker of its own. A service is ready again when its breaker admits probes, and when a
    /// [handle](CircuitBreakerHandle) lets calls pass.
    ///
    /// Readiness does not reserve a probe: if several clones of a service are ready, a half-open breaker rejects the calls beyond its
    /// probes. Without a balancer outside, callers wait for as long as the breaker is open, and without a bound if it is
    /// [forced open](CircuitBreakerHandle::force_open).
    ///
    /// The wait uses the timer of tokio and must be polled in a tokio runtime with time enabled. It reads the [`clock`](Self::clock)
    /// when the timer fires, or when the state of the breaker changes; a manual clock that is advanced meanwhile does not wake it.
    #[cfg(feature = "backpressure")]
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|config| config.backpressure = true)
    }

    /// Returns a handle to the breaker, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle(self.state.handle())
    }

    fn config(&self) -> &Config {
        self.policies.policy().get().config()
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config().clone();
        set(&mut config);
        let breaker = CircuitBreakerPolicy::new(config);
        self.state.replace(breaker.clone());
        *self.policies.policy_mut().get_mut() = breaker;
        self
    }
}

policy_layer!(
    CircuitBreakerLayer { state },
    AsGuard<CircuitBreakerPolicy>,
    Plain
);
