use std::sync::Arc;

use towerkit_core::{
    AsObserver, Clock, LayerState, NoProtocol, PolicyLayer, PolicyService, StateHandle,
};

use crate::{
    Buckets, MetricsObserver, Provider, Registry, names::Side, observer::State, series::Source,
};

/// A layer that measures calls: how many, how long, how they ended, how many are active.
///
/// Say the protocol with `.http()`, `.grpc()` or `.plain("operation")`, or put the layer into a policy stack. See the [crate docs](crate) for the
/// metrics and an example.
#[derive(Debug, Clone)]
pub struct MetricsLayer<P = NoProtocol> {
    policies: PolicyLayer<AsObserver<MetricsObserver>, P>,
    state: LayerState<Arc<State>>,
}

const MAX_OPERATIONS: u16 = 1000;

/// A service behind a [`MetricsLayer`].
pub type Metrics<S, P = NoProtocol> = PolicyService<S, AsObserver<MetricsObserver>, P>;

impl MetricsLayer {
    /// Measures calls into the [global registry](Registry::global).
    #[must_use]
    pub fn new() -> Self {
        let source = Source {
            provider: Arc::new(Registry::global()),
            buckets: Buckets::default(),
            side: Side::Server,
            heads: false,
            sizes: None,
        };
        let metrics = MetricsObserver {
            state: Arc::new(State::new(source, MAX_OPERATIONS)),
            clock: Clock::default(),
        };
        Self {
            state: LayerState::new(metrics.state.clone()),
            policies: PolicyLayer::new(AsObserver::new(metrics), NoProtocol::default()),
        }
    }
}

impl<P> MetricsLayer<P> {
    /// Records into `registry`, or another [`Provider`], instead of the global registry.
    #[must_use]
    pub fn registry(self, registry: impl Provider + 'static) -> Self {
        self.source(|source| source.provider = Arc::new(registry))
    }

    /// Counts durations in these buckets, whose bounds are seconds; [`Buckets::default`] by default.
    ///
    /// Where several layers record into one registry, the first call that is recorded decides for all.
    #[must_use]
    pub fn buckets(self, buckets: Buckets) -> Self {
        self.source(|source| source.buckets = buckets)
    }

    /// Records the time to the head of a response as well; by default, only the time to the end of its body.
    ///
    /// The metric is `towerkit_http_server_time_to_head_seconds`, or with `rpc`, has the labels of the operation and the buckets of the
    /// duration. A call that ends without a head is not in it, and neither is one that a later policy of the same policy stack rejects. It costs
    /// another reading of the clock.
    #[must_use]
    pub fn time_to_head(self) -> Self {
        self.source(|source| source.heads = true)
    }

    /// Records the sizes of bodies in these buckets, whose bounds are bytes, such as [`Buckets::bytes`]; by default, none.
    ///
    /// Over HTTP: `http_server_request_body_size_bytes`, as the request declares it in `content-length`, so that a request without one
    /// is not in it; and `http_server_response_body_size_bytes`, the bytes that the response delivered before its end, its
    /// cancellation or its failure. Over gRPC only the latter, as `towerkit_rpc_server_response_size_bytes`, with the prefix of each
    /// message. The labels are those of the duration. A response without a head has no size, and neither has the answer of a later policy of the
    /// same policy stack that rejects.
    #[must_use]
    pub fn body_sizes(self, buckets: Buckets) -> Self {
        self.source(|source| source.sizes = Some(buckets))
    }

    /// Measures the calls that a client makes; without it, those that a server takes.
    ///
    /// The metrics are then named `http_client_…` and `rpc_client_…`, and the label of an HTTP operation is `url_template`.
    #[must_use]
    pub fn client(self) -> Self {
        self.source(|source| source.side = Side::Client)
    }

    /// Gives at most so many operations (over HTTP: pairs of operation and method) series of their own; 1,000 by default.
    ///
    /// Calls of any other operation are recorded as operation `_OTHER`, and counted in `towerkit_metrics_dropped_total`. 0 records all
    /// operations as one.
    #[must_use]
    pub fn max_operations(mut self, most: u16) -> Self {
        let source = self.state.get().source.clone();
        self.replace(State::new(source, most));
        self
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.metrics().clock = clock;
        self
    }

    /// Returns a handle, which tells what the layer keeps. It follows the layer through later setters.
    #[must_use]
    pub fn handle(&self) -> MetricsHandle {
        MetricsHandle(self.state.handle())
    }

    fn source(mut self, change: impl FnOnce(&mut Source)) -> Self {
        let state = self.state.get();
        let mut source = state.source.clone();
        change(&mut source);
        self.replace(State::new(source, state.most));
        self
    }

    fn replace(&mut self, state: State) {
        let state = Arc::new(state);
        self.metrics().state = state.clone();
        self.state.replace(state);
    }

    fn metrics(&mut self) -> &mut MetricsObserver {
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

/// Tells what a [`MetricsLayer`] and its services keep. Clones tell of the same layer.
#[derive(Debug, Clone)]
pub struct MetricsHandle(StateHandle<Arc<State>>);

impl MetricsHandle {
    /// Returns how many operations (over HTTP: pairs of operation and method) have series of their own.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.0.get().operations()
    }

    /// Returns how many calls were recorded as `_OTHER` because there were too many operations.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.get().dropped()
    }
}
