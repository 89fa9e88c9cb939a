use std::sync::Arc;

use towerkit_core::{AsObserver, Clock, LayerState, NoProtocol, PolicyLayer, PolicyService, Side};

use crate::{
    Buckets, MetricsHandle, MetricsObserver, Provider, config::Config, observer::MetricsState,
};

/// Measures the calls of a service: their rate, duration, outcome and number in flight.
///
/// Choose the protocol with `.http()`, `.grpc()` or `.plain("operation")`, or add the layer to a policy stack. The
/// [crate docs](crate#metrics) list the metrics.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use towerkit_core::LayerExt;
/// use towerkit_metrics::{Buckets, MetricsLayer};
///
/// let layer = MetricsLayer::new().buckets(Buckets::new([0.05, 0.25, 1.0])?);
/// let service = ServiceBuilder::new()
///     .layer(layer.plain("uppercase"))
///     .service(service_fn(async |text: String| Ok::<_, std::io::Error>(text.to_uppercase())));
/// # let _ = service;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MetricsLayer<P = NoProtocol> {
    policies: PolicyLayer<AsObserver<MetricsObserver>, P>,
    state: LayerState<Arc<MetricsState>>,
}

/// The service of a [`MetricsLayer`].
pub type Metrics<S, P = NoProtocol> = PolicyService<S, AsObserver<MetricsObserver>, P>;

impl MetricsLayer {
    /// Creates a layer that records the calls of a server in the [global registry](crate::Registry::global).
    #[must_use]
    pub fn new() -> Self {
        let observer = MetricsObserver {
            state: Arc::new(MetricsState::new(Config::default())),
            clock: Clock::default(),
        };
        Self {
            state: LayerState::new(observer.state.clone()),
            policies: PolicyLayer::new(AsObserver::new(observer), NoProtocol::default()),
        }
    }
}

impl<P> MetricsLayer<P> {
    /// Records in this [`Registry`](crate::Registry), or another [`Provider`], instead of the global registry.
    #[must_use]
    pub fn registry(self, registry: impl Provider + 'static) -> Self {
        self.configure(|config| config.provider = Arc::new(registry))
    }

    /// Sets the buckets for durations, in seconds; the default is [`Buckets::default`].
    ///
    /// If several layers share a registry, the first recorded call fixes the buckets of a metric.
    #[must_use]
    pub fn buckets(self, buckets: Buckets) -> Self {
        self.configure(|config| config.buckets = buckets)
    }

    /// Also records the time to the head of a response; the default records only the time to the end of its body.
    ///
    /// The metrics are `towerkit_http_server_time_to_head_seconds` and `towerkit_rpc_server_time_to_head_seconds`, with the labels of
    /// the operation and the [`buckets`](Self::buckets) of the duration. A call without a response head has no such time, and neither
    /// has a call that a later policy of the same policy stack rejects. The option costs one more reading of the clock per call.
    #[must_use]
    pub fn time_to_head(self) -> Self {
        self.configure(|config| config.time_to_head = true)
    }

    /// Also records the sizes of bodies, in bytes, for example in [`Buckets::bytes`]; by default sizes are not recorded.
    ///
    /// Over HTTP the metrics are:
    ///
    /// - `http_server_request_body_size_bytes`: the declared [`Content-Length`]; requests without that header are not counted;
    /// - `http_server_response_body_size_bytes`: the bytes that the response delivered until it ended, failed or was cancelled.
    ///
    /// Over gRPC it is `towerkit_rpc_server_response_size_bytes`, which includes the 5-byte prefix of each message. The labels are
    /// those of the duration. A call without a response head has no response size, and neither has a call that a later policy of the
    /// same policy stack rejects.
    ///
    /// [`Content-Length`]: https://www.rfc-editor.org/rfc/rfc9110#name-content-length
    #[must_use]
    pub fn body_sizes(self, buckets: Buckets) -> Self {
        self.configure(|config| config.body_buckets = Some(buckets))
    }

    /// Measures the calls of a client; the default measures those of a server.
    ///
    /// The metrics are named `http_client_…` and `rpc_client_…`, and the label of an HTTP operation is `url_template`.
    #[must_use]
    pub fn client(self) -> Self {
        self.configure(|config| config.side = Side::Client)
    }

    /// Limits the operations with series of their own, over HTTP pairs of operation and method; the default is 1,000.
    ///
    /// Calls of further operations are recorded as operation `_OTHER` and counted in `towerkit_metrics_dropped_total`. With 0 all
    /// operations share one series.
    #[must_use]
    pub fn max_operations(self, max: u16) -> Self {
        self.configure(|config| config.max_operations = max)
    }

    /// Reads time from `clock`; the default is [`Clock::monotonic`].
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.observer().clock = clock;
        self
    }

    /// Returns a handle to the state of this layer and its services. It follows the layer through later setters.
    #[must_use]
    pub fn handle(&self) -> MetricsHandle {
        MetricsHandle(self.state.handle())
    }

    fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.state.get().config.clone();
        change(&mut config);
        let state = Arc::new(MetricsState::new(config));
        self.observer().state = state.clone();
        self.state.replace(state);
        self
    }

    fn observer(&mut self) -> &mut MetricsObserver {
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.policies.policy_mut().get_mut()
    }
}

towerkit_core::policy_layer!(
    MetricsLayer { state },
    AsObserver<MetricsObserver>,
    NoProtocol
);

impl Default for MetricsLayer {
    fn default() -> Self {
        Self::new()
    }
}
