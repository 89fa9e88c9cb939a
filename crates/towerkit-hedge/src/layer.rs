use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;
use towerkit_core::{Clock, ConfigError, EventSink, LayerExt, LayerState, NoProtocol};
use towerkit_retry::{Always, Budget, ByProtocol};

use crate::{
    Hedge, HedgeHandle, Percentile,
    allowance::Terms,
    config::{Aim, Settings},
    percentile::Bounds,
    state::State,
};

/// Sends calls that are slow a second time, and takes the answer that comes first.
#[derive(Clone)]
pub struct HedgeLayer<P = NoProtocol, I = ByProtocol> {
    state: LayerState<Arc<State>>,
    protocol: P,
    idempotence: I,
}

impl HedgeLayer {
    /// Hedges calls that have waited for `delay`. Timers of tokio have a resolution of a millisecond.
    ///
    /// # Errors
    ///
    /// If it is less than a microsecond or more than 71 minutes.
    pub fn after(delay: Duration) -> Result<Self, ConfigError> {
        Ok(Self::new(Aim::Fixed(Bounds::fixed(delay)?)))
    }

    /// Hedges calls that have waited for longer than that share of recent calls.
    #[must_use]
    pub fn at(percentile: Percentile) -> Self {
        Self::new(Aim::Percentile(percentile))
    }

    fn new(aim: Aim) -> Self {
        Self {
            state: LayerState::new(Arc::new(State::new(Settings::new(aim)))),
            protocol: NoProtocol::default(),
            idempotence: ByProtocol,
        }
    }
}

impl<P, I> HedgeLayer<P, I> {
    /// Says how often one call is hedged at most, after the same delay each time; once by default.
    ///
    /// # Errors
    ///
    /// If it is not between 1 and 4: gRPC, too, stops at five attempts.
    pub fn max_hedges(self, hedges: u8) -> Result<Self, ConfigError> {
        if !(1..=4).contains(&hedges) {
            return Err(ConfigError::new(
                "max_hedges",
                hedges,
                "a number from 1 to 4",
            ));
        }
        Ok(self.with(|settings| settings.hedges = hedges))
    }

    /// Allows `ratio` hedges for each call that may be hedged, and `burst` of them on top; 0.05 and 10 by default.
    ///
    /// # Errors
    ///
    /// If `ratio` is not above 0 and at most 1, or `burst` is 0.
    pub fn cap(self, ratio: f64, burst: u32) -> Result<Self, ConfigError> {
        let cap = Terms::new(ratio, burst)?;
        Ok(self.with(|settings| settings.cap = cap))
    }

    /// Takes each hedge out of this budget as well, which retries to the same callee share; no other by default.
    ///
    /// Nothing is paid in for calls: that is done by the retry layer outside.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|settings| settings.budget = Some(budget))
    }

    /// Says that every request may be sent twice.
    #[must_use]
    pub fn idempotent(self) -> HedgeLayer<P, Always> {
        self.idempotence(Always)
    }

    /// Says which requests may be sent twice; by default those that the protocol calls idempotent.
    ///
    /// Over HTTP those are the ones with an idempotent method (RFC 9110, section 9.2.2); gRPC and [`Plain`](towerkit_core::Plain) cannot tell, and so
    /// call none idempotent.
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

    /// Hedges no call whose request body is longer than that many bytes, which are kept until the call is over; 64 KiB by default.
    #[must_use]
    pub fn replay_up_to(self, bytes: usize) -> Self {
        self.with(|settings| settings.replay = bytes)
    }

    /// Reads the time that calls take from `clock`; [`Clock::monotonic`] by default. Where the delay is fixed, none is read.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Names this layer in events; `hedge` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Reports every hedge to `sink`; to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|settings| settings.sink = Some(Arc::new(sink)))
    }

    /// Returns a handle on what all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> HedgeHandle {
        HedgeHandle::new(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        self.state.update(|state| {
            let mut settings = state.settings.clone();
            set(&mut settings);
            *state = Arc::new(State::new(settings));
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
            .field("settings", &state.settings)
            .field("state", &state.snapshot())
            .finish_non_exhaustive()
    }
}
