use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;
use towerkit_core::{Clock, ConfigError, EventSink, LayerExt, LayerState, Name, NoProtocol};
use towerkit_retry::{Always, Budget, ByProtocol};

use crate::{
    Hedge, HedgeHandle, HedgeSnapshot, Percentile,
    config::{Config, DelaySource},
    percentile::Bounds,
    state::State,
    token_bucket::Cap,
};

/// Sends slow calls a second time, and returns the first response.
///
/// See the [crate's documentation](crate) for an example.
#[derive(Clone)]
pub struct HedgeLayer<P = NoProtocol, I = ByProtocol> {
    state: LayerState<Arc<State>>,
    protocol: P,
    idempotence: I,
}

impl HedgeLayer {
    /// Hedges calls after `delay`. Timers of [`tokio::time`] have a resolution of 1 ms.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `delay` is shorter than 1 µs or longer than 71 minutes.
    pub fn after(delay: Duration) -> Result<Self, ConfigError> {
        Ok(Self::new(DelaySource::Fixed(Bounds::fixed(delay)?)))
    }

    /// Hedges calls that have waited longer than a [percentile](Percentile) of recent calls.
    #[must_use]
    pub fn at(percentile: Percentile) -> Self {
        Self::new(DelaySource::Percentile(percentile))
    }

    fn new(delay_source: DelaySource) -> Self {
        Self {
            state: LayerState::new(Arc::new(State::new(Config::new(delay_source)))),
            protocol: NoProtocol::default(),
            idempotence: ByProtocol,
        }
    }
}

impl<P, I> HedgeLayer<P, I> {
    /// Limits the hedges of one call, each after the same delay; 1 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the number is not from 1 to 4; gRPC, too, makes at most five attempts.
    pub fn max_hedges(self, hedges: u8) -> Result<Self, ConfigError> {
        let hedges = ConfigError::check_range("max_hedges", hedges, 1..=4)?;
        Ok(self.with(|config| config.hedges = hedges))
    }

    /// Limits the hedges of this layer to `ratio` per hedgeable call, plus a burst of `burst`; 0.05 and 10 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `ratio` is not above 0 and at most 1, or if `burst` is 0.
    pub fn cap(self, ratio: f64, burst: u32) -> Result<Self, ConfigError> {
        let cap = Cap::new(ratio, burst)?;
        Ok(self.with(|config| config.cap = cap))
    }

    /// Withdraws each hedge from a [`Budget`] as well, which it shares with retries to the same upstream; no budget by default.
    ///
    /// The outer retry layer makes the deposits for calls.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|config| config.budget = Some(budget))
    }

    /// Declares every request idempotent.
    #[must_use]
    pub fn idempotent(self) -> HedgeLayer<P, Always> {
        self.idempotence(Always)
    }

    /// Declares the requests idempotent for which a function returns true; by default the protocol decides.
    ///
    /// Over HTTP requests with an [idempotent method] are idempotent; gRPC and [`Plain`](towerkit_core::Plain) cannot tell, and so declare
    /// no request idempotent.
    ///
    /// [idempotent method]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
    #[must_use]
    pub fn idempotent_if<Req, F: Fn(&Req) -> bool>(self, is_idempotent: F) -> HedgeLayer<P, F> {
        self.idempotence(is_idempotent)
    }

    fn idempotence<J>(self, idempotence: J) -> HedgeLayer<P, J> {
        HedgeLayer {
            state: self.state,
            protocol: self.protocol,
            idempotence,
        }
    }

    /// Limits the size of a request body that is recorded for a hedge; 64 KiB by default. Calls with larger bodies are not hedged.
    #[must_use]
    pub fn replay_up_to(self, bytes: usize) -> Self {
        self.with(|config| config.replay = bytes)
    }

    /// Measures latencies with `clock`; [`Clock::monotonic`] by default. With a fixed delay, the clock is not read.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|config| config.clock = clock)
    }

    /// Names this layer in events; `hedge` by default.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        self.with(|config| config.name = name.into())
    }

    /// Reports each hedge to an [`EventSink`]; no sink by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|config| config.sink = Some(Arc::new(sink)))
    }

    /// Returns a handle on the state that all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> HedgeHandle {
        HedgeHandle::new(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        self.state.update(|state| {
            let mut config = state.config.clone();
            set(&mut config);
            *state = Arc::new(State::new(config));
        });
        self
    }
}

impl<P, I> LayerExt for HedgeLayer<P, I> {
    type Protocol = P;
    type With<Q> = HedgeLayer<Q, I>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> HedgeLayer<Q, I> {
        HedgeLayer {
            state: self.state,
            protocol,
            idempotence: self.idempotence,
        }
    }
}

impl<S, P: Clone, I: Clone> Layer<S> for HedgeLayer<P, I> {
    type Service = Hedge<S, P, I>;

    fn layer(&self, inner: S) -> Hedge<S, P, I> {
        let (state, protocol) = (self.state.share(), self.protocol.clone());
        Hedge::new(inner, state, protocol, self.idempotence.clone())
    }
}

impl<P, I> fmt::Debug for HedgeLayer<P, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.get();
        f.debug_struct("HedgeLayer")
            .field("config", &state.config)
            .field("state", &HedgeSnapshot::of(&state))
            .finish_non_exhaustive()
    }
}
