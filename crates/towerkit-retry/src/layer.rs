use std::{
    sync::{Arc, atomic::AtomicU8},
    time::Duration,
};

use tower_layer::Layer;
use towerkit_core::{CallEnd, ConfigError, LayerExt, LayerState, NoProtocol, layer_setters};

use crate::{
    Always, Budget, ByProtocol, Retry, RetryHandle,
    backoff::{Backoff, checked_delay},
    config::{Config, checked_attempts},
    sync::Mutex,
};

/// Retries failed calls that are idempotent, within a budget.
///
/// All services that one layer makes share the budget and the counts.
#[derive(Debug, Clone)]
pub struct RetryLayer<P = NoProtocol, I = ByProtocol> {
    config: LayerState<Arc<Config>>,
    protocol: P,
    idempotence: I,
}

impl RetryLayer {
    /// Makes a layer with the defaults that its setters document.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config: LayerState::new(Arc::default()),
            protocol: NoProtocol::default(),
            idempotence: ByProtocol,
        }
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P, I> RetryLayer<P, I> {
    /// Limits the attempts of a call, including the first; 3 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0.
    pub fn attempts(self, attempts: u8) -> Result<Self, ConfigError> {
        let attempts = AtomicU8::new(checked_attempts(attempts)?);
        Ok(self.with(|config| config.attempts = attempts))
    }

    /// Sets the delays before retries: up to `base` before the first, twice that before the second, and so on up to `cap`.
    ///
    /// By default `base` is 50 ms and `cap` 2 s. The delay is random between zero and that bound ([full jitter]), and runs on
    /// [`tokio::time`].
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `base` is zero or above `cap`, or if `cap` is more than a day.
    ///
    /// [full jitter]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    pub fn backoff(self, base: Duration, cap: Duration) -> Result<Self, ConfigError> {
        let backoff = Backoff::new(base, cap)?;
        Ok(self.with(|config| config.backoff = Mutex::new(backoff)))
    }

    /// Limits the delay that an upstream may ask for; 10 seconds by default.
    ///
    /// Upstreams ask by the header [`Retry-After`], or over gRPC by [`grpc-retry-pushback-ms`]. A retry then waits exactly that long.
    /// If the upstream asks for more than this limit, its response is returned at once.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for more than a day.
    ///
    /// [`Retry-After`]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    /// [`grpc-retry-pushback-ms`]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
    pub fn max_pushback(self, delay: Duration) -> Result<Self, ConfigError> {
        let delay = checked_delay("max pushback", delay)?;
        Ok(self.with(|config| config.max_pushback = delay))
    }

    /// Limits the size of request bodies that are sent again; 65,536 bytes by default. A longer body is sent once.
    #[must_use]
    pub fn replay_up_to(self, bytes: usize) -> Self {
        self.with(|config| config.max_replay_bytes = bytes)
    }

    /// Shares a budget with other layers; by default the layer has a [`Budget::default`] of its own.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|config| config.budget = budget)
    }

    /// Decides which results are retryable; by default the table in the [crate docs](crate#retryable-results).
    ///
    /// The function is called for idempotent requests and for requests that were never sent. It also sees successes, and rejections
    /// by inner layers ([`CallEnd::rejection_reason`]).
    #[must_use]
    pub fn when(self, is_retryable: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.is_retryable = Some(Arc::new(is_retryable)))
    }

    /// Takes every request for idempotent.
    #[must_use]
    pub fn idempotent(self) -> RetryLayer<P, Always> {
        self.idempotence(Always)
    }

    /// Decides which requests are idempotent; by default the protocol does.
    ///
    /// Over HTTP these are the requests with an idempotent method ([RFC 9110, section 9.2.2]). gRPC and
    /// [`Plain`](towerkit_core::Plain) services have no idempotent requests by default.
    ///
    /// [RFC 9110, section 9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
    #[must_use]
    pub fn idempotent_if<Req, F: Fn(&Req) -> bool>(self, is_idempotent: F) -> RetryLayer<P, F> {
        self.idempotence(is_idempotent)
    }

    fn idempotence<J>(self, idempotence: J) -> RetryLayer<P, J> {
        RetryLayer {
            config: self.config,
            protocol: self.protocol,
            idempotence,
        }
    }

    /// Leaves calls alone that another tier has already retried; see the [crate docs](crate#several-tiers).
    #[must_use]
    pub fn unless_retried(self) -> Self {
        self.with(|config| config.unless_retried = true)
    }

    layer_setters!(
        /// Events carry the name.
        name = "retry",
        /// These are [`Retried`](towerkit_core::Event::Retried) and [`RetryGivenUp`](towerkit_core::Event::RetryGivenUp).
        events
    );

    /// Returns a handle that reads and changes the retries of all services of this layer.
    #[must_use]
    pub fn handle(&self) -> RetryHandle {
        RetryHandle(self.config.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        self.config.update(|config| set(Arc::make_mut(config)));
        self
    }
}

impl<P, I> LayerExt for RetryLayer<P, I> {
    type Protocol = P;
    type With<Q> = RetryLayer<Q, I>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> RetryLayer<Q, I> {
        RetryLayer {
            config: self.config,
            protocol,
            idempotence: self.idempotence,
        }
    }
}

impl<S, P: Clone, I: Clone> Layer<S> for RetryLayer<P, I> {
    type Service = Retry<S, P, I>;

    fn layer(&self, inner: S) -> Retry<S, P, I> {
        let (protocol, idempotence) = (self.protocol.clone(), self.idempotence.clone());
        Retry::new(inner, self.config.share(), protocol, idempotence)
    }
}
