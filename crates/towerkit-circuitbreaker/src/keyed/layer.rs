use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{
    AsGuard, Call, CallEnd, Clock, EventSink, IntoPolicy, Layer, LayerExt, LayerState, Plain,
    PolicyLayer, PolicyService,
};

use super::{
    Key, KeyedCircuitBreakerHandle, KeyedCircuitBreakerPolicy, breakers::Breakers,
    table::MAX_CAPACITY,
};
use crate::{
    CircuitBreakerOptions, CountAs, InvalidSetting, OpenDuration, OpenWhen, invalid::Problem,
    setters::setters, settings::Settings,
};

/// Stops calling what fails behind a service, such as one host or one tenant among many: a breaker for each key.
///
/// The number of keys is bounded. When there is no room for a new key, one leaves that remembers nothing bad: its breaker is closed
/// and counts neither failures nor slow calls. No pressure by other keys makes an open breaker, or one that is about to open,
/// forgotten. Where every key remembers something bad, the new one is dealt with by [`WhenFull`].
///
/// A call whose key has a breaker takes no lock and allocates nothing; the first call of a key takes one, and so does every call of a
/// key without room. A call without a key passes by. Of the keys that remember nothing bad, those that are in use leave last, and
/// calls that are under way then do not count.
///
/// ```
/// use towerkit_circuitbreaker::{Key, KeyedCircuitBreakerLayer};
/// use towerkit_core::Call;
///
/// let layer = KeyedCircuitBreakerLayer::new(1_000, |call: &Call<'_, String>| Some(Key::new(&*call.request)))?;
/// assert_eq!(layer.handle().capacity(), 1_000);
/// # Ok::<_, towerkit_circuitbreaker::InvalidSetting>(())
/// ```
///
/// # Readiness
///
/// Readiness comes before the call and its key: the inner service is asked for it though the breaker of the key may be open.
pub struct KeyedCircuitBreakerLayer<F: 'static, P = Plain> {
    policies: PolicyLayer<AsGuard<KeyedCircuitBreakerPolicy<F>>, P>,
    state: LayerState<Breakers>,
}

/// A service behind a [`KeyedCircuitBreakerLayer`].
pub type KeyedCircuitBreaker<S, F, P = Plain> =
    PolicyService<S, AsGuard<KeyedCircuitBreakerPolicy<F>>, P>;

/// What happens to a key for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It shares one more breaker with all other such keys. The default.
    #[default]
    Shared,
    /// Its calls are admitted, and not counted.
    Unguarded,
}

impl<F: 'static> KeyedCircuitBreakerLayer<F> {
    /// Makes breakers for up to `capacity` keys, which `key` finds in the calls.
    ///
    /// They take 40 bytes for each key of the capacity, and for each key that has a breaker about 700 bytes and its windows.
    ///
    /// # Errors
    ///
    /// If `capacity` is not 1 to 1 048 576.
    pub fn new<Req>(capacity: usize, key: F) -> Result<Self, InvalidSetting>
    where
        F: Fn(&Call<'_, Req>) -> Option<Key>,
    {
        let problem = match capacity {
            0 => Problem::Zero("number of keys"),
            1..=MAX_CAPACITY => {
                let settings = Settings::default();
                let breakers = Breakers::new(settings, capacity, WhenFull::default());
                let state = LayerState::new(breakers.clone());
                let key = Arc::new(key);
                let guard = AsGuard::new(KeyedCircuitBreakerPolicy { key, breakers });
                let policies = PolicyLayer::new(guard, Plain::default());
                return Ok(Self { policies, state });
            }
            _ => Problem::TooManyKeys(capacity),
        };
        Err(InvalidSetting(problem))
    }
}

impl<F: 'static, P> KeyedCircuitBreakerLayer<F, P> {
    setters!();

    /// Says what happens to a key for which there is no room; it shares a breaker with other such keys by default.
    #[must_use]
    pub fn when_full(self, overflow: WhenFull) -> Self {
        let breakers = &self.policies.policy().get().breakers;
        let remade = breakers.remade(breakers.settings().clone(), Some(overflow));
        self.with_breakers(remade)
    }

    /// Returns a handle on the breakers, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> KeyedCircuitBreakerHandle {
        KeyedCircuitBreakerHandle(self.state.handle())
    }

    /// Leaks the state of this layer, once, see [`PolicyLayer::leak`].
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.policies = self.policies.leak();
        self
    }

    fn settings(&self) -> &Settings {
        self.policies.policy().get().breakers.settings()
    }

    fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings().clone();
        set(&mut settings);
        let remade = self.policies.policy().get().breakers.remade(settings, None);
        self.with_breakers(remade)
    }

    fn with_breakers(mut self, breakers: Breakers) -> Self {
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.state.replace(breakers.clone());
        self.policies.policy_mut().get_mut().breakers = breakers;
        self
    }
}

impl<F: 'static, P: Clone> Clone for KeyedCircuitBreakerLayer<F, P> {
    fn clone(&self) -> Self {
        Self {
            policies: self.policies.clone(),
            state: self.state.clone(),
        }
    }
}

impl<F: 'static, P> fmt::Debug for KeyedCircuitBreakerLayer<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyedCircuitBreakerLayer")
            .field(self.policies.policy())
            .finish()
    }
}

impl<S, F: 'static, P: Clone> Layer<S> for KeyedCircuitBreakerLayer<F, P> {
    type Service = KeyedCircuitBreaker<S, F, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.policies.layer(inner)
    }
}

impl<F: 'static, P> LayerExt for KeyedCircuitBreakerLayer<F, P> {
    type Protocol = P;
    type With<Q> = KeyedCircuitBreakerLayer<F, Q>;

    fn current_protocol(&self) -> &P {
        self.policies.current_protocol()
    }

    fn protocol<Q>(self, protocol: Q) -> KeyedCircuitBreakerLayer<F, Q> {
        KeyedCircuitBreakerLayer {
            policies: self.policies.protocol(protocol),
            state: self.state,
        }
    }
}

impl<F: 'static> IntoPolicy for KeyedCircuitBreakerLayer<F> {
    type Policy = AsGuard<KeyedCircuitBreakerPolicy<F>>;

    fn into_policy(self) -> Self::Policy {
        self.policies.into_policy()
    }
}
