use std::sync::Arc;

use towerkit_core::{
    AsAsyncGuard, AsGuard, AsyncPolicyService, Call, ConfigError, IntoPolicy, Layer, LayerExt,
    LayerState, Plain, PolicyAs, PolicyLayer, PolicyService, PolicyShape, layer_setters,
};

use crate::{
    Adaptive, ConcurrencyLimitHandle, ConcurrencyLimitPolicy, PriorityClass, PriorityClasses,
    PriorityFn, Queue, SingleClass, config::Config, handle::check_limit, state::LimitState,
};

/// Limits the calls in flight, and rejects the calls above the limit.
///
/// All services of one layer share the limit. With a [`queue`](Self::queue) calls above the limit wait for a permit, and the type
/// parameter `R` becomes that of a [`QueuedConcurrencyLimitLayer`].
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer<P = Plain, R: 'static = AsGuard<ConcurrencyLimitPolicy>> {
    policies: PolicyLayer<R, P>,
    state: LayerState<Arc<LimitState>>,
}

/// A [`ConcurrencyLimitLayer`] with a [`Queue`].
pub type QueuedConcurrencyLimitLayer<P = Plain, K = SingleClass> =
    ConcurrencyLimitLayer<P, AsAsyncGuard<ConcurrencyLimitPolicy<K>>>;

/// The service of a [`ConcurrencyLimitLayer`].
pub type ConcurrencyLimit<S, P = Plain, K = SingleClass> =
    PolicyService<S, AsGuard<ConcurrencyLimitPolicy<K>>, P>;

/// The service of a [`QueuedConcurrencyLimitLayer`].
pub type QueuedConcurrencyLimit<S, P = Plain, K = SingleClass> =
    AsyncPolicyService<S, AsAsyncGuard<ConcurrencyLimitPolicy<K>>, P>;

impl ConcurrencyLimitLayer {
    /// Admits at most `limit` calls at a time.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the limit is not 1 to 2 147 483 647.
    pub fn new(limit: u32) -> Result<Self, ConfigError> {
        check_limit(limit)?;
        Ok(Self::from_config(Config::new(limit)))
    }

    /// Adjusts the limit to the measured latency or overload of the inner service, as [`Adaptive`] configures it.
    #[must_use]
    pub fn adaptive(adaptive: Adaptive) -> Self {
        let initial = adaptive.initial_limit();
        Self::from_config(Config {
            adaptive: Some(adaptive),
            ..Config::new(initial)
        })
    }

    fn from_config(config: Config) -> Self {
        let state = Arc::new(LimitState::new(config));
        let policy = ConcurrencyLimitPolicy {
            state: Arc::clone(&state),
            classifier: SingleClass,
        };
        Self {
            policies: PolicyLayer::new(AsGuard::new(policy), Plain::default()),
            state: LayerState::new(state),
        }
    }
}

impl<P: Clone, K: Clone> ConcurrencyLimitLayer<P, AsGuard<ConcurrencyLimitPolicy<K>>> {
    /// Queues calls above the limit instead of rejecting them. Disables [`backpressure`](Self::backpressure).
    #[must_use]
    pub fn queue(self, queue: Queue) -> QueuedConcurrencyLimitLayer<P, K> {
        let set = |config: &mut Config| {
            config.queue = Some(queue);
            config.backpressure = false;
        };
        self.with_policy(set, K::clone)
    }

    /// Keeps [`poll_ready`](https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#tymethod.poll_ready) pending while the limit is full, instead of rejecting calls; for use
    /// under a load balancer.
    ///
    /// A load balancer prefers instances with few calls in flight. A full instance that rejects at once looks idle, and attracts calls
    /// that it cannot serve. With this option it is not ready, and the balancer chooses another instance. A free permit wakes all
    /// waiting services.
    ///
    /// Readiness reserves no permit: of several clones that became ready for one permit, the first that is called gets it, and calls
    /// to the others are rejected. A call of a [class](Self::classes) that may not use the whole limit is also rejected, because the
    /// class is unknown before the call.
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|config| config.backpressure = true)
    }
}

impl<P: Clone, K: Clone, Part> ConcurrencyLimitLayer<P, PolicyAs<ConcurrencyLimitPolicy<K>, Part>> {
    /// Divides calls into priority classes, and limits the part of the limit that each class may use; one class by default.
    ///
    /// `classify` returns the [`PriorityClass`] of a call, or only its [`Priority`](crate::Priority). It runs before each call is
    /// admitted, and should be fast.
    ///
    /// ```
    /// use towerkit_concurrency::{ConcurrencyLimitLayer, Priority, PriorityClass, PriorityClasses};
    /// use towerkit_core::Call;
    ///
    /// let layer = ConcurrencyLimitLayer::new(100)?.classes(
    ///     PriorityClasses::new().partition("batch", 0.1)?,
    ///     |call: &Call<'_, http::Request<()>>| match call.header("x-client") {
    ///         Some("reports") => PriorityClass::new(Priority::Sheddable).partition("batch"),
    ///         _ => PriorityClass::new(Priority::Critical),
    ///     },
    /// );
    /// # let _ = layer;
    /// # Ok::<_, towerkit_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn classes<Req, F, C>(
        self,
        classes: PriorityClasses,
        classify: F,
    ) -> ConcurrencyLimitLayer<P, PolicyAs<ConcurrencyLimitPolicy<PriorityFn<F>>, Part>>
    where
        F: Fn(&Call<'_, Req>) -> C,
        C: Into<PriorityClass>,
    {
        self.with_policy(
            |config| config.classes = classes,
            |_| PriorityFn::new(classify),
        )
    }

    layer_setters!(
        /// Rejections and events carry the name.
        name = "concurrency",
        /// A fixed limit without partitions reads no clock for a call that is admitted without waiting.
        clock,
        /// These are [`LimitReached`](towerkit_core::Event::LimitReached), at most once a second, and
        /// [`LimitChanged`](towerkit_core::Event::LimitChanged), for changes of an adaptive limit by a tenth.
        events
    );

    /// Returns a handle that reads and changes the limit that all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyLimitHandle {
        ConcurrencyLimitHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let state = self.replace_state(set);
        self.policies.policy_mut().get_mut().state = state;
        self
    }

    /// Changes the type of the policy.
    fn with_policy<L, Other>(
        mut self,
        set: impl FnOnce(&mut Config),
        classifier: impl FnOnce(&K) -> L,
    ) -> ConcurrencyLimitLayer<P, PolicyAs<ConcurrencyLimitPolicy<L>, Other>> {
        let state = self.replace_state(set);
        let convert = |policy: PolicyAs<ConcurrencyLimitPolicy<K>, Part>| {
            let classifier = classifier(&policy.get().classifier);
            PolicyAs::new(ConcurrencyLimitPolicy { state, classifier })
        };
        ConcurrencyLimitLayer {
            policies: self.policies.map(convert),
            state: self.state,
        }
    }

    /// Creates the state anew with a changed configuration, also for the handles.
    fn replace_state(&mut self, set: impl FnOnce(&mut Config)) -> Arc<LimitState> {
        let mut config = self.policies.policy().get().state.config.clone();
        set(&mut config);
        let state = Arc::new(LimitState::new(config));
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.state.replace(Arc::clone(&state));
        state
    }
}

impl<P, R> ConcurrencyLimitLayer<P, R> {
    /// Leaks the state of this layer once; see [`PolicyLayer::leak`].
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.policies = self.policies.leak();
        self
    }
}

impl<S, P: Clone, R: PolicyShape + Clone> Layer<S> for ConcurrencyLimitLayer<P, R> {
    type Service = <PolicyLayer<R, P> as Layer<S>>::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.policies.layer(inner)
    }
}

impl<P, R> LayerExt for ConcurrencyLimitLayer<P, R> {
    type Protocol = P;
    type With<Q> = ConcurrencyLimitLayer<Q, R>;

    fn current_protocol(&self) -> &P {
        self.policies.current_protocol()
    }

    fn protocol<Q>(self, protocol: Q) -> ConcurrencyLimitLayer<Q, R> {
        ConcurrencyLimitLayer {
            policies: self.policies.protocol(protocol),
            state: self.state,
        }
    }
}

impl<R: PolicyShape> IntoPolicy for ConcurrencyLimitLayer<Plain, R> {
    type Policy = R;

    fn into_policy(self) -> R {
        self.policies.into_policy()
    }
}
