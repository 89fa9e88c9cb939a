use std::{fmt, hash::Hash, sync::Arc};

use tower_layer::Layer;
use towerkit_core::{CallEnd, KeyFn, KeyType, LayerExt, NoProtocol};

use crate::{
    Coalesce, InvalidCoalesce,
    flights::Flights,
    settings::{Settings, SharePolicy},
};

/// Lets calls that ask for the same at the same time share one call.
///
/// `X` is what finds the keys, a [`KeyFn`].
pub struct CoalesceLayer<X: KeyType, P = NoProtocol> {
    keys: X,
    flights: Arc<Flights<X::Key>>,
    settings: Settings,
    protocol: P,
}

impl<F, K> CoalesceLayer<KeyFn<F, K>>
where
    K: Hash + Eq + Send + Sync + 'static,
{
    /// Lets calls with equal keys share one call. A call for which `key` returns `None` is made as if there were no layer.
    ///
    /// Equal keys have to mean that the same answer is right for both callers: what the answer depends on, who asks included,
    /// belongs in the key. Over HTTP `towerkit_http::RequestKey::of` is such a function.
    #[must_use]
    pub fn new<Req>(key: F) -> Self
    where
        F: Fn(&Req) -> Option<K>,
    {
        Self {
            keys: KeyFn::new(key),
            flights: Arc::new(Flights::new()),
            settings: Settings::default(),
            protocol: NoProtocol::default(),
        }
    }
}

impl<X: KeyType, P> CoalesceLayer<X, P> {
    /// Waits for so many calls of others in vain, 1 to 100, before making its own; 2 by default.
    ///
    /// Of those who wait for a call that failed, one calls next and the others wait for that. This bounds the time for which a
    /// policy stack of failures can hold them up.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 100.
    pub fn waits(mut self, waits: usize) -> Result<Self, InvalidCoalesce> {
        self.settings.waits = InvalidCoalesce::check("a number of waits", waits, 100)?;
        Ok(self)
    }

    /// Shares response bodies of up to so many bytes, 1 byte to 1 GiB; 256 KiB by default.
    ///
    /// A response with a longer body is passed on to its caller as it comes, and the others call for themselves.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 1 GiB.
    pub fn max_body(mut self, bytes: usize) -> Result<Self, InvalidCoalesce> {
        self.settings.max_body = InvalidCoalesce::check("a body", bytes, 1 << 30)?;
        Ok(self)
    }

    /// Shares what `share` returns true for; successes and client errors by default.
    ///
    /// Errors, which cannot be cloned, and rejections by a layer further in are never shared.
    #[must_use]
    pub fn share(mut self, share: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.settings.share = SharePolicy::asking(share);
        self
    }

    /// Returns a handle on the calls in flight, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> CoalesceHandle<X::Key> {
        CoalesceHandle(self.flights.clone())
    }
}

impl<X: KeyType, P> LayerExt for CoalesceLayer<X, P> {
    type Protocol = P;
    type With<Q> = CoalesceLayer<X, Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> CoalesceLayer<X, Q> {
        CoalesceLayer {
            keys: self.keys,
            flights: self.flights,
            settings: self.settings,
            protocol,
        }
    }
}

impl<S, X: KeyType + Clone, P: Clone> Layer<S> for CoalesceLayer<X, P> {
    type Service = Coalesce<S, X, P>;

    fn layer(&self, inner: S) -> Coalesce<S, X, P> {
        Coalesce {
            inner,
            keys: self.keys.clone(),
            flights: self.flights.clone(),
            settings: self.settings.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType + Clone, P: Clone> Clone for CoalesceLayer<X, P> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            flights: self.flights.clone(),
            settings: self.settings.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType, P> fmt::Debug for CoalesceLayer<X, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceLayer")
            .field("settings", &self.settings)
            .field("flights", &self.flights)
            .finish_non_exhaustive()
    }
}

/// Reads what a [`CoalesceLayer`] does while it runs.
pub struct CoalesceHandle<K>(Arc<Flights<K>>);

impl<K: Hash + Eq> CoalesceHandle<K> {
    /// Returns the figures of this moment.
    #[must_use]
    pub fn snapshot(&self) -> CoalesceSnapshot {
        self.0.snapshot()
    }
}

impl<K> Clone for CoalesceHandle<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Hash + Eq> fmt::Debug for CoalesceHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoalesceHandle")
            .field(&self.snapshot())
            .finish()
    }
}

/// The figures of a [`CoalesceLayer`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoalesceSnapshot {
    /// How many calls are in flight that others can wait for.
    pub in_flight: usize,
    /// How many such calls there have been.
    pub led: u64,
    /// How many callers got the answer to the call of another.
    pub shared: u64,
}
