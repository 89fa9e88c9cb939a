use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_layer::Layer;
use towerkit_core::{LayerExt, Plain};

use crate::{InvalidTimeout, Timeout};

/// Refuses calls whose response is not there in time.
#[derive(Debug, Clone)]
pub struct TimeoutLayer<P = Plain> {
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
        let nanos = InvalidTimeout::check(timeout)?;
        Ok(Self {
            name: "timeout",
            handle: TimeoutHandle(Arc::new(AtomicU64::new(nanos))),
            protocol: Plain::default(),
        })
    }
}

impl<P> TimeoutLayer<P> {
    /// Names this timeout in refusals; `timeout` by default.
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

    fn said(&self) -> &P {
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

/// Reads and changes a timeout while it runs.
#[derive(Debug, Clone)]
pub struct TimeoutHandle(Arc<AtomicU64>);

impl TimeoutHandle {
    /// Returns the timeout.
    #[inline(always)]
    #[must_use]
    pub fn timeout(&self) -> Duration {
        // Relaxed: the word guards nothing but itself.
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Gives calls that start from now on another timeout.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year; the old one stays then.
    pub fn change(&self, timeout: Duration) -> Result<(), InvalidTimeout> {
        let nanos = InvalidTimeout::check(timeout)?;
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}
