use std::{fmt, hash::Hash, sync::Arc};

use tower_layer::Layer;
use towerkit_core::{CallEnd, ConfigError, KeyFn, KeyType, LayerExt, NoProtocol, ShareCondition};

use crate::{Coalesce, CoalesceHandle, call_table::CallTable, config::Config};

/// Makes one upstream call for all concurrent calls with the same key.
///
/// `X` is the [key function](KeyFn). See the [crate's documentation](crate) for an example.
pub struct CoalesceLayer<X: KeyType, P = NoProtocol> {
    keys: X,
    calls: Arc<CallTable<X::Key>>,
    config: Config,
    protocol: P,
}

impl<F, K> CoalesceLayer<KeyFn<F, K>>
where
    K: Hash + Eq + Send + Sync + 'static,
{
    /// Shares one call among concurrent calls with equal keys. A call for which `key` returns `None` is not shared.
    ///
    /// The key must contain everything on which the response depends, including the caller where it matters. Over HTTP use
    /// `towerkit_http::RequestKey::of`.
    #[must_use]
    pub fn new<Req>(key: F) -> Self
    where
        F: Fn(&Req) -> Option<K>,
    {
        Self {
            keys: KeyFn::new(key),
            calls: Arc::new(CallTable::new()),
            config: Config::default(),
            protocol: NoProtocol::default(),
        }
    }
}

impl<X: KeyType, P> CoalesceLayer<X, P> {
    /// Limits how many failed calls a caller waits for before it calls itself, from 1 to 100; 2 by default.
    ///
    /// After a failed call one of its waiters calls next, and the others wait for that call. The limit bounds the delay of a waiter
    /// while the upstream fails.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the number is out of range.
    pub fn max_waits(mut self, max_waits: usize) -> Result<Self, ConfigError> {
        self.config.max_waits = ConfigError::check_range("max_waits", max_waits, 1..=100)?;
        Ok(self)
    }

    /// Limits the size of shared response bodies, from 1 byte to 1 GiB; 256 KiB by default.
    ///
    /// A response with a larger body is streamed to its own caller, and the waiters call for themselves.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the size is out of range.
    pub fn max_body(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.config.max_body = ConfigError::check_range("max_body", bytes, 1..=1 << 30)?;
        Ok(self)
    }

    /// Shares responses for which `share` returns true; successes and client errors by default.
    ///
    /// Errors, which cannot be cloned, and rejections by an inner layer are never shared.
    #[must_use]
    pub fn share(mut self, share: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.config.share = ShareCondition::Custom(Arc::new(share));
        self
    }

    /// Returns a handle on the calls in flight, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> CoalesceHandle<X::Key> {
        CoalesceHandle(self.calls.clone())
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
            calls: self.calls,
            config: self.config,
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
            calls: self.calls.clone(),
            config: self.config.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType + Clone, P: Clone> Clone for CoalesceLayer<X, P> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            calls: self.calls.clone(),
            config: self.config.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<X: KeyType, P> fmt::Debug for CoalesceLayer<X, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceLayer")
            .field("config", &self.config)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}
