use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use towerkit_core::{ConfigError, Layer, LayerExt, LayerState, NoProtocol, layer_setters};
use towerkit_discovery::Endpoints;

use crate::{
    Balance, BalanceHandle, BuildTable, OutlierEjection, P2c,
    balancer::Balancer,
    config::{Config, ZonePreference},
    handle::{Instances, LayerShared},
};

/// Sends each call to one of the instances of a service.
///
/// It is a [`Layer`] of [`Endpoints`], the services of the instances. See the [crate documentation](crate) for an example.
#[derive(Debug, Clone)]
pub struct BalanceLayer<C = P2c, P = NoProtocol> {
    state: LayerState<Arc<LayerShared>>,
    picker: C,
    protocol: P,
}

impl<C: BuildTable> BalanceLayer<C> {
    /// Makes a layer with a picker, the algorithm by which instances are chosen.
    #[must_use]
    pub fn new(picker: C) -> Self {
        Self {
            state: LayerState::new(Arc::default()),
            picker,
            protocol: NoProtocol::default(),
        }
    }
}

impl Default for BalanceLayer {
    fn default() -> Self {
        Self::new(P2c::new())
    }
}

impl<C, P> BalanceLayer<C, P> {
    /// Sets when an instance that fails is ejected, or never by `None`; [`OutlierEjection::default`] by default.
    #[must_use]
    pub fn outlier_ejection(self, rule: impl Into<Option<OutlierEjection>>) -> Self {
        self.with(|config| config.outlier_ejection = rule.into())
    }

    /// Sets the weight of a failed call, as the time for which it counts as one more call in flight; 1 second by default.
    ///
    /// An instance that fails at once would otherwise look idle, and attract calls. The weight decays exponentially, with `time` as its
    /// time constant. For [`PeakEwma`](crate::PeakEwma), a failed call also has at least this latency. Zero switches the penalty off.
    #[must_use]
    pub fn failure_penalty(self, time: Duration) -> Self {
        self.with(|config| config.failure_penalty = time)
    }

    /// Lets calls wait for a first instance, at most this long and to their deadlines; zero by default.
    ///
    /// Without instances a call is rejected at once as
    /// [`Unavailable`](towerkit_core::RejectionReason::Unavailable), or after the wait; if its deadline is sooner, as
    /// [`DeadlineExceeded`](towerkit_core::RejectionReason::DeadlineExceeded). The wait is polled in a runtime of tokio with time
    /// enabled.
    #[must_use]
    pub fn max_wait(self, wait: Duration) -> Self {
        self.with(|config| config.max_wait = wait)
    }

    /// Raises the share of an instance that is added from a tenth to all of it over this time; zero, off, by default.
    ///
    /// For instances with caches to fill. It applies to [`P2c`] and [`PeakEwma`](crate::PeakEwma), which go by load, and not to the
    /// instances that are there at the start.
    #[must_use]
    pub fn slow_start(self, time: Duration) -> Self {
        self.with(|config| config.slow_start = time)
    }

    /// Sends all calls to the instances of this zone while at least `min_instances` of them are well, and no fewer than are ejected.
    ///
    /// Otherwise the instances of all zones get calls. By default zones do not matter. Choose `min_instances` so that they can serve the
    /// callers of the zone.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `min_instances` is 0.
    pub fn prefer_zone(
        self,
        zone: impl Into<Arc<str>>,
        min_instances: usize,
    ) -> Result<Self, ConfigError> {
        let zone = ZonePreference {
            zone: zone.into(),
            min_instances: ConfigError::check_range(
                "min_instances",
                min_instances,
                1..=usize::MAX,
            )?,
        };
        Ok(self.with(|config| config.zone = Some(zone)))
    }

    layer_setters!(
        /// Rejections and events carry the name: give each layer that of its upstream.
        name = "balance",
        /// It is read for failures and ejections, and twice for each call if the picker measures latency.
        clock,
        /// These are [`Event::Other`](towerkit_core::Event::Other) of the layer `balance`: `instance_ejected` and `instance_restored`.
        events
    );

    /// Returns a handle to the instances of all services of this layer.
    #[must_use]
    pub fn handle(&self) -> BalanceHandle {
        BalanceHandle::new(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.state.get().config.clone();
        set(&mut config);
        self.state.replace(Arc::new(LayerShared::new(config)));
        self
    }
}

impl<C, P> LayerExt for BalanceLayer<C, P> {
    type Protocol = P;
    type With<Q> = BalanceLayer<C, Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> BalanceLayer<C, Q> {
        BalanceLayer {
            state: self.state,
            picker: self.picker,
            protocol,
        }
    }
}

impl<S, R, C, P> Layer<Endpoints<S, R>> for BalanceLayer<C, P>
where
    S: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    C: BuildTable,
    P: Clone,
{
    type Service = Balance<S, R, C, P>;

    fn layer(&self, endpoints: Endpoints<S, R>) -> Balance<S, R, C, P> {
        let state = self.state.share();
        let balancer = Balancer::new(endpoints, state.config.clone(), self.picker.clone());
        let instances: Weak<Balancer<S, R, C>> = Arc::downgrade(&balancer);
        state.add(instances as Weak<dyn Instances>);
        Balance::new(balancer, self.protocol.clone())
    }
}
