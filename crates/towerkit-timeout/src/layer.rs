use std::time::Duration;

use tower_layer::Layer;
use towerkit_core::{ConfigError, LayerExt, Name, NoProtocol};

use crate::{Timeout, TimeoutHandle};

/// Rejects calls whose response does not arrive within a time, or before the [`Deadline`](towerkit_core::Deadline) of the request.
///
/// The inner future is dropped. See the [crate's documentation](crate) for an example.
#[derive(Debug, Clone)]
pub struct TimeoutLayer<P = NoProtocol> {
    name: Name,
    handle: TimeoutHandle,
    protocol: P,
}

impl TimeoutLayer {
    /// Limits the time of each call until the head of its response.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `timeout` is zero or longer than 365 days.
    pub fn new(timeout: Duration) -> Result<Self, ConfigError> {
        Ok(Self {
            name: Name::new("timeout"),
            handle: TimeoutHandle::new(timeout)?,
            protocol: NoProtocol::default(),
        })
    }
}

impl<P> TimeoutLayer<P> {
    /// Names this layer in rejections; `timeout` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// Returns a handle on the timeout, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> TimeoutHandle {
        self.handle.clone()
    }
}

impl<P> LayerExt for TimeoutLayer<P> {
    type Protocol = P;
    type With<Q> = TimeoutLayer<Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> TimeoutLayer<Q> {
        TimeoutLayer {
            name: self.name,
            handle: self.handle,
            protocol,
        }
    }
}

impl<S, P: Clone> Layer<S> for TimeoutLayer<P> {
    type Service = Timeout<S, P>;

    fn layer(&self, inner: S) -> Timeout<S, P> {
        let name = self.name.clone();
        Timeout::new(inner, name, self.handle(), self.protocol.clone())
    }
}
