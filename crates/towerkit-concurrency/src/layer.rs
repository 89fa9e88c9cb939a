use std::sync::Arc;

use towerkit_core::{
    AsAsyncGuard, AsGuard, AsyncPolicyService, Call, Clock, EventSink, IntoPolicy, Layer, LayerExt,
    LayerState, Plain, PolicyAs, PolicyLayer, PolicyService, PolicyShape,
};

use crate::{
    Adaptive, Alike, Class, Classes, ConcurrencyLimitHandle, ConcurrencyLimitPolicy,
    InvalidSetting, Queue, Sorted,
    limit::{Shared, check_limit},
    settings::Settings,
};

/// Limits how many calls are in flight, and rejects the others at once.
///
/// All services that one layer makes share one limit. `R` is the part that the limit plays: by default it rejects, after
/// [`queue`](Self::queue) calls wait.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer<P = Plain, R: 'static = AsGuard<ConcurrencyLimitPolicy>> {
    policies: PolicyLayer<R, P>,
    state: LayerState<Arc<Shared>>,
}

/// A [`ConcurrencyLimitLayer`] under whose limit calls wait in line.
pub type QueuedConcurrencyLimitLayer<P = Plain, K = Alike> =
    ConcurrencyLimitLayer<P, AsAsyncGuard<ConcurrencyLimitPolicy<K>>>;

/// A service behind a [`ConcurrencyLimitLayer`].
pub type ConcurrencyLimit<S, P = Plain, K = Alike> =
    PolicyService<S, AsGuard<ConcurrencyLimitPolicy<K>>, P>;

/// A service behind a [`QueuedConcurrencyLimitLayer`].
pub type QueuedConcurrencyLimit<S, P = Plain, K = Alike> =
    AsyncPolicyService<S, AsAsyncGuard<ConcurrencyLimitPolicy<K>>, P>;

impl ConcurrencyLimitLayer {
    /// Lets `limit` calls be in flight.
    ///
    /// # Errors
    ///
    /// If the limit is not 1 to 2 147 483 647.
    pub fn new(limit: u32) -> Result<Self, InvalidSetting> {
        check_limit(limit)?;
        Ok(Self::of(Settings::new(limit)))
    }

    /// Lets as many calls be in flight as an algorithm finds good.
    #[must_use]
    pub fn adaptive(adaptive: Adaptive) -> Self {
        Self::of(Settings {
            adaptive: Some(adaptive.clone()),
            ..Settings::new(adaptive.first_limit())
        })
    }

    fn of(settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(settings));
        let limit = ConcurrencyLimitPolicy {
            shared: Arc::clone(&shared),
            sort: Alike,
        };
        Self {
            policies: PolicyLayer::new(AsGuard::new(limit), Plain::default()),
            state: LayerState::new(shared),
        }
    }
}

impl<P: Clone, K: Clone> ConcurrencyLimitLayer<P, AsGuard<ConcurrencyLimitPolicy<K>>> {
    /// Lets calls wait for room, instead of rejecting them at once. This ends [`backpressure`](Self::backpressure).
    #[must_use]
    pub fn queue(self, queue: Queue) -> QueuedConcurrencyLimitLayer<P, K> {
        let set = |settings: &mut Settings| {
            settings.queue = Some(queue);
            settings.backpressure = false;
        };
        self.remade(set, K::clone)
    }

    /// Makes services wait in `poll_ready` while the limit is full, instead of rejecting calls; for use under a load balancer.
    ///
    /// A balancer goes by the calls in flight. A full instance that rejects at once answers sooner than any other and draws calls
    /// that it does not take. With this option it is not ready, and the balancer takes another instance. All services that wait are
    /// woken when a permit is free.
    ///
    /// Readiness reserves nothing: of several clones that are ready for one permit, the first to be called gets it, and the others
    /// are rejected. A call of a [class](Self::classes) that may not use all of the limit is rejected as before, since the class is not
    /// known before the call.
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|settings| settings.backpressure = true)
    }
}

impl<P: Clone, K: Clone, Part> ConcurrencyLimitLayer<P, PolicyAs<ConcurrencyLimitPolicy<K>, Part>> {
    /// Sorts calls into classes, and says what each may use of the limit. By default all calls are alike.
    ///
    /// `class` says which class a call belongs to: a [`Class`] or just a [`Priority`](crate::Priority). It must be quick, and it is
    /// asked before the call is admitted.
    ///
    /// ```
    /// use towerkit_concurrency::{Class, Classes, ConcurrencyLimitLayer, Priority};
    /// use towerkit_core::Call;
    ///
    /// let layer = ConcurrencyLimitLayer::new(100)?.classes(
    ///     Classes::new().partition("batch", 0.1)?,
    ///     |call: &Call<'_, http::Request<()>>| match call.header("x-client") {
    ///         Some("reports") => Class::new(Priority::Sheddable).partition("batch"),
    ///         _ => Class::new(Priority::Critical),
    ///     },
    /// );
    /// # let _ = layer;
    /// # Ok::<_, towerkit_concurrency::InvalidSetting>(())
    /// ```
    #[must_use]
    pub fn classes<Req, F, C>(
        self,
        classes: Classes,
        class: F,
    ) -> ConcurrencyLimitLayer<P, PolicyAs<ConcurrencyLimitPolicy<Sorted<F>>, Part>>
    where
        F: Fn(&Call<'_, Req>) -> C,
        C: Into<Class>,
    {
        self.remade(
            |settings| settings.classes = classes,
            |_| Sorted::new(class),
        )
    }

    /// Names this limit in rejections and events; `concurrency` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default. A fixed limit reads none for a call that is admitted at once, unless
    /// there are partitions.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Reports rejections, at most once a second, and an adaptive limit that has changed by a tenth, to `sink`; to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns a handle on the limit, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyLimitHandle {
        ConcurrencyLimitHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let shared = self.remake(set);
        self.policies.policy_mut().get_mut().shared = shared;
        self
    }

    /// The same layer with another policy.
    fn remade<L, Other>(
        mut self,
        set: impl FnOnce(&mut Settings),
        sort: impl FnOnce(&K) -> L,
    ) -> ConcurrencyLimitLayer<P, PolicyAs<ConcurrencyLimitPolicy<L>, Other>> {
        let shared = self.remake(set);
        let remade = |role: PolicyAs<ConcurrencyLimitPolicy<K>, Part>| {
            let sort = sort(&role.get().sort);
            PolicyAs::new(ConcurrencyLimitPolicy { shared, sort })
        };
        ConcurrencyLimitLayer {
            policies: self.policies.map(remade),
            state: self.state,
        }
    }

    /// Makes the limit anew, also for the handles.
    fn remake(&mut self, set: impl FnOnce(&mut Settings)) -> Arc<Shared> {
        let mut settings = self.policies.policy().get().shared.settings.clone();
        set(&mut settings);
        let shared = Arc::new(Shared::new(settings));
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.state.replace(Arc::clone(&shared));
        shared
    }
}

impl<P, R> ConcurrencyLimitLayer<P, R> {
    /// Leaks the state of this layer, once, see [`PolicyLayer::leak`].
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
