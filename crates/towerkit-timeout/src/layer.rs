use std::time::Duration;

use tower_layer::Layer;
use towerkit_core::{LayerExt, NoProtocol};

use crate::{InvalidTimeout, Timeout, TimeoutHandle};

/// Rejects calls whose response is not there in time, or not before the deadline of the request.
#[derive(Debug, Clone)]
pub struct TimeoutLayer<P = NoProtocol> {
    name: &'static str,
    handle: TimeoutHandle,
    protocol: P,
}

impl TimeoutLayer {
    /// Gives each call `timeout` until the head of its response.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn new(timeout: Duration) -> Result<Self, InvalidTimeout> {
        Ok(Self {
            name: "timeout",
            handle: TimeoutHandle::new(timeout)?,
            protocol: NoProtocol::default(),
        })
    }
}

impl<P> TimeoutLayer<P> {
    /// Names this timeout in rejections; `timeout` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = name;
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
        Timeout::new(inner, self.name, self.handle(), self.protocol.clone())
    }
}
