use std::sync::Arc;

use tower_layer::Layer;
use towerkit_core::{CallEnd, EventQueue, EventSink, LayerExt, NoProtocol};

use crate::{Fallback, FallbackHandle, FallbackTo, Function, Other, Value, config::Settings};

/// Gives calls that fail another answer.
///
/// `A` is where that comes from: a [`value`](Self::value), a [`function`](Self::function) or another [`service`](Self::service).
#[derive(Debug, Clone)]
pub struct FallbackLayer<A, P = NoProtocol> {
    answer: A,
    settings: Settings,
    protocol: P,
}

impl<A> FallbackLayer<A> {
    fn new(answer: A) -> Self {
        Self {
            answer,
            settings: Settings::new(),
            protocol: NoProtocol::default(),
        }
    }
}

impl<V> FallbackLayer<Value<V>> {
    /// Answers with a clone of `value`, which is of the service's response type.
    ///
    /// Over HTTP it answers `HEAD` requests as well, whose answers have no body: hyper's HTTP/2 server breaks a stream that has one.
    /// Around a server give it no body, or leave such operations out by `.only(..)`.
    #[must_use]
    pub fn value(value: V) -> Self {
        Self::new(Value::new(value))
    }
}

impl<F> FallbackLayer<Function<F>> {
    /// Answers with what `function` makes of the result of a failed call and of how it ended.
    ///
    /// It may return the result as it came, if it has no answer either.
    #[must_use]
    pub fn function<T, E>(function: F) -> Self
    where
        F: Fn(Result<T, E>, &CallEnd) -> Result<T, E>,
    {
        Self::new(Function::new(function))
    }
}

impl<O> FallbackLayer<Other<O>> {
    /// Calls `other` with the same request, and answers as it does.
    ///
    /// It must have the response and error types of the service, and takes the same requests, which are recorded so that they can be
    /// [replayed](towerkit_core::ReplayRequest).
    #[must_use]
    pub fn service(other: O) -> Self {
        Self::new(Other::new(other))
    }
}

impl<O, P> FallbackLayer<Other<O>, P> {
    /// Keeps at most so many bytes of a request body for the other service, where requests have bodies; 65,536 by default.
    ///
    /// A call whose request has more than that fails as if there were no fallback.
    #[must_use]
    pub fn replay_up_to(mut self, bytes: usize) -> Self {
        self.answer.replay_up_to = bytes;
        self
    }
}

impl<A, P> FallbackLayer<A, P> {
    /// Chooses the failed calls that get another answer; by default those that failed, were overloaded or timed out, also those that
    /// a layer further in rejected for such a reason.
    ///
    /// Not asked of a success, which keeps its answer. Over HTTP and gRPC the end is what the head of the response says.
    #[must_use]
    pub fn when(mut self, chooses: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.settings.when = Some(Arc::new(chooses));
        self
    }

    /// Names this fallback in events and responses; `fallback` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.settings.name = name;
        self
    }

    /// Reports every other answer to `sink`; to no one by default.
    #[must_use]
    pub fn events(mut self, sink: impl EventSink + 'static) -> Self {
        self.settings.outbox = Arc::new(EventQueue::new(Some(Arc::new(sink))));
        self
    }

    /// Returns a handle on the fallback, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> FallbackHandle {
        self.settings.handle.clone()
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
            answer: self.answer,
            settings: self.settings,
            protocol,
        }
    }
}

impl<S, V, P: Clone> Layer<S> for FallbackLayer<Value<V>, P> {
    type Service = Fallback<S, Value<V>, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, &self.answer, &self.settings, &self.protocol)
    }
}

impl<S, F, P: Clone> Layer<S> for FallbackLayer<Function<F>, P> {
    type Service = Fallback<S, Function<F>, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, &self.answer, &self.settings, &self.protocol)
    }
}

impl<S, O: Clone, P: Clone> Layer<S> for FallbackLayer<Other<O>, P> {
    type Service = FallbackTo<S, O, P>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackTo::new(inner, &self.answer, &self.settings, &self.protocol)
    }
}
