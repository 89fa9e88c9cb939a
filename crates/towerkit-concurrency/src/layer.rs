use std::sync::Arc;

use towerkit_core::{
    As, AsyncGuards, Call, Clock, EventSink, Guards, IntoRole, Layer, LayerExt, LayerState, Plain,
    Row, RowLayer, Shape, WaitingRow,
};

use crate::{
    Adaptive, Alike, Class, Classes, ConcurrencyLimit, ConcurrencyLimitPolicy, InvalidSetting,
    Queue, Sorted,
    limit::{Shared, check_limit},
    settings::Settings,
};

/// Limits how many calls are in flight, and refuses the others at once.
///
/// All services that one layer makes share one limit. `R` is the part that the limit plays: by default it refuses, after
/// [`queue`](Self::queue) calls wait.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer<P = Plain, R: 'static = Guards<ConcurrencyLimitPolicy>> {
    row: RowLayer<R, P>,
    state: LayerState<Arc<Shared>>,
}

/// A [`ConcurrencyLimitLayer`] under whose limit calls wait in line.
pub type QueuedLimitLayer<P = Plain, K = Alike> =
    ConcurrencyLimitLayer<P, AsyncGuards<ConcurrencyLimitPolicy<K>>>;

/// A service behind a [`ConcurrencyLimitLayer`].
pub type ConcurrencyLimited<S, P = Plain, K = Alike> = Row<S, Guards<ConcurrencyLimitPolicy<K>>, P>;

/// A service behind a [`QueuedLimitLayer`].
pub type QueuedLimited<S, P = Plain, K = Alike> =
    WaitingRow<S, AsyncGuards<ConcurrencyLimitPolicy<K>>, P>;

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
            row: RowLayer::new(Guards::new(limit), Plain::default()),
            state: LayerState::new(shared),
        }
    }
}

impl<P: Clone, K: Clone> ConcurrencyLimitLayer<P, Guards<ConcurrencyLimitPolicy<K>>> {
    /// Lets calls wait for room, instead of refusing them at once. This ends [`backpressure`](Self::backpressure).
    #[must_use]
    pub fn queue(self, queue: Queue) -> QueuedLimitLayer<P, K> {
        let set = |settings: &mut Settings| {
            settings.queue = Some(queue);
            settings.backpressure = false;
        };
        self.remade(set, K::clone)
    }

    /// Makes services wait in `poll_ready` while the limit is full, instead of refusing calls; for use under a load balancer.
    ///
    /// A balancer goes by the calls in flight. A full instance that refuses at once answers sooner than any other and draws calls
    /// that it does not take. With this option it is not ready, and the balancer takes another instance. All services that wait are
    /// woken when a permit is free.
    ///
    /// Readiness reserves nothing: of several clones that are ready for one permit, the first to be called gets it, and the others
    /// are refused. A call of a [class](Self::classes) that may not use all of the limit is refused as before, since the class is not
    /// known before the call.
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|settings| settings.backpressure = true)
    }
}

impl<P: Clone, K: Clone, Part> ConcurrencyLimitLayer<P, As<ConcurrencyLimitPolicy<K>, Part>> {
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
    ///     |call: &Call<'_, http::Request<()>>| match call.field("x-client") {
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
    ) -> ConcurrencyLimitLayer<P, As<ConcurrencyLimitPolicy<Sorted<F>>, Part>>
    where
        F: Fn(&Call<'_, Req>) -> C,
        C: Into<Class>,
    {
        self.remade(
            |settings| settings.classes = classes,
            |_| Sorted::new(class),
        )
    }

    /// Names this limit in refusals and events; `concurrency` by default.
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

    /// Reports refusals, at most once a second, and an adaptive limit that has changed by a tenth, to `sink`; to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns a handle on the limit, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyLimit {
        ConcurrencyLimit(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let shared = self.remake(set);
        self.row.role_mut().policy_mut().shared = shared;
        self
    }

    /// The same layer with another role.
    fn remade<L, Other>(
        mut self,
        set: impl FnOnce(&mut Settings),
        sort: impl FnOnce(&K) -> L,
    ) -> ConcurrencyLimitLayer<P, As<ConcurrencyLimitPolicy<L>, Other>> {
        let shared = self.remake(set);
        let remade = |role: As<ConcurrencyLimitPolicy<K>, Part>| {
            let sort = sort(&role.policy().sort);
            As::new(ConcurrencyLimitPolicy { shared, sort })
        };
        ConcurrencyLimitLayer {
            row: self.row.map(remade),
            state: self.state,
        }
    }

    /// Makes the limit anew, also for the handles.
    fn remake(&mut self, set: impl FnOnce(&mut Settings)) -> Arc<Shared> {
        let mut settings = self.row.role().policy().shared.settings.clone();
        set(&mut settings);
        let shared = Arc::new(Shared::new(settings));
        if self.row.is_used() {
            self.state.mark_used();
        }
        self.state.replace(Arc::clone(&shared));
        shared
    }
}

impl<P, R> ConcurrencyLimitLayer<P, R> {
    /// Leaks the state of this layer, once, see [`RowLayer::leak`].
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.row = self.row.leak();
        self
    }
}

impl<S, P: Clone, R: Shape + Clone> Layer<S> for ConcurrencyLimitLayer<P, R> {
    type Service = <RowLayer<R, P> as Layer<S>>::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.row.layer(inner)
    }
}

impl<P, R> LayerExt for ConcurrencyLimitLayer<P, R> {
    type Protocol = P;
    type With<Q> = ConcurrencyLimitLayer<Q, R>;

    fn said(&self) -> &P {
        self.row.said()
    }

    fn protocol<Q>(self, protocol: Q) -> ConcurrencyLimitLayer<Q, R> {
        ConcurrencyLimitLayer {
            row: self.row.protocol(protocol),
            state: self.state,
        }
    }
}

impl<R: Shape> IntoRole for ConcurrencyLimitLayer<Plain, R> {
    type Role = R;

    fn into_role(self) -> R {
        self.row.into_role()
    }
}
