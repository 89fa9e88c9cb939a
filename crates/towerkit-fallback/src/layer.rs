use std::sync::Arc;

use tower_layer::Layer;
use towerkit_core::{CallEnd, EventQueue, EventSink, LayerExt, NoProtocol, layer_setters};

use crate::{
    ByFunction, ByService, ByValue, Fallback, FallbackHandle, FallbackService, config::Config,
};

/// Replaces the results of failed calls.
///
/// `A` is the source of the replacement: a [`value`](Self::value), a [`function`](Self::function) or another
/// [`service`](Self::service).
#[derive(Debug, Clone)]
pub struct FallbackLayer<A, P = NoProtocol> {
    response: A,
    config: Config,
    protocol: P,
}

impl<A> FallbackLayer<A> {
    fn new(response: A) -> Self {
        Self {
            response,
            config: Config::new(),
            protocol: NoProtocol::default(),
        }
    }
}

impl<V> FallbackLayer<ByValue<V>> {
    /// Responds with a clone of `value`, which must be of the service's response type.
    ///
    /// Over HTTP this includes [`HEAD`] requests, whose responses must have no body: hyper's HTTP/2 server resets a stream that has one.
    /// Around a server, use a value without a body, or exclude such operations with
    /// [`.only(..)`](towerkit_core::LayerExt::only).
    ///
    /// [`HEAD`]: https://www.rfc-editor.org/rfc/rfc9110#name-head
    #[must_use]
    pub fn value(value: V) -> Self {
        Self::new(ByValue::new(value))
    }
}

impl<F> FallbackLayer<ByFunction<F>> {
    /// Responds with the result of `function`, which gets the failed result and the [end](CallEnd) of the call.
    ///
    /// The function may return the failed result unchanged.
    #[must_use]
    pub fn function<T, E>(function: F) -> Self
    where
        F: Fn(Result<T, E>, &CallEnd) -> Result<T, E>,
    {
        Self::new(ByFunction::new(function))
    }
}

impl<O> FallbackLayer<ByService<O>> {
    /// Calls another service with the same request, and returns its result.
    ///
    /// It must have the response and error types of the service, and takes the same requests, which are recorded so that they can be
    /// [replayed](towerkit_core::ReplayRequest).
    #[must_use]
    pub fn service(fallback_service: O) -> Self {
        Self::new(ByService::new(fallback_service))
    }
}

impl<O, P> FallbackLayer<ByService<O>, P> {
    /// Limits the size of a request body that is recorded for the other service; 64 KiB by default.
    ///
    /// A call with a larger body has no fallback.
    #[must_use]
    pub fn replay_up_to(mut self, bytes: usize) -> Self {
        self.response.replay_up_to = bytes;
        self
    }
}

impl<A, P> FallbackLayer<A, P> {
    /// Selects the calls that fall back by their [end](CallEnd); by default calls that failed, were overloaded or timed out, including
    /// rejections by an inner layer for such a reason.
    ///
    /// A success never falls back. Over HTTP and gRPC the end is that of the response head.
    #[must_use]
    pub fn when(self, condition: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.when = Some(Arc::new(condition)))
    }

    layer_setters!(
        /// Events and responses carry the name.
        name = "fallback"
    );

    /// Reports each use of the fallback to `sink`, as a [`FallbackUsed`](towerkit_core::Event::FallbackUsed); to no sink by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        let events = Arc::new(EventQueue::new(Some(Arc::new(sink))));
        self.with(|config| config.events = events)
    }

    /// Returns a handle on the fallback, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> FallbackHandle {
        self.config.handle.clone()
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }
}

impl<A, P> LayerExt for FallbackLayer<A, P> {
    type Protocol = P;
    type With<Q> = FallbackLayer<A, Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> FallbackLayer<A, Q> {
        FallbackLayer {
            response: self.response,
            config: self.config,
            protocol,
        }
    }
}

impl<S, V, P: Clone> Layer<S> for FallbackLayer<ByValue<V>, P> {
    type Service = Fallback<S, ByValue<V>, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, &self.response, &self.config, &self.protocol)
    }
}

impl<S, F, P: Clone> Layer<S> for FallbackLayer<ByFunction<F>, P> {
    type Service = Fallback<S, ByFunction<F>, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, &self.response, &self.config, &self.protocol)
    }
}

impl<S, O: Clone, P: Clone> Layer<S> for FallbackLayer<ByService<O>, P> {
    type Service = FallbackService<S, O, P>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService::new(inner, &self.response, &self.config, &self.protocol)
    }
}
