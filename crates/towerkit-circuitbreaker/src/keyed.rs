use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use towerkit_core::{
    AsGuard, Call, CallEnd, ConfigError, CountAs, Guard, LayerState, Name, Plain, Policy,
    PolicyLayer, PolicyService, Rejection, RejectionReason, StateHandle, layer_setters,
    policy_layer,
};
use towerkit_keyed::{KeyExtractor, KeyHasher, WhenFull};

use crate::{
    breaker_table::{BreakerTable, MAX_CAPACITY},
    config::{CircuitBreakerOptions, Config},
    guard::{Breaker, CallState},
    layer::setters,
    open_duration::OpenDuration,
    open_when::OpenWhen,
    state::{CircuitBreakerSnapshot, Mode},
};

/// Gives each host, tenant or other key its own circuit breaker.
///
/// The memory for keys is bounded. A [`KeyExtractor`] finds the key of a call; a call without a key passes without a breaker. When a new key comes and all slots are
/// taken, a key with an idle breaker is evicted: one that is closed and has counted neither failures nor slow calls. So other keys never
/// displace a breaker that is open or about to open. Among idle keys, those in use are evicted last, and their calls in flight then do
/// not count. If no breaker is idle, [`WhenFull`] decides about calls of the new key.
///
/// A call whose key has a breaker takes no lock and allocates no memory; the first call of a key, and each call of a key without a
/// slot, takes one.
///
/// ```
/// use towerkit_circuitbreaker::KeyedCircuitBreakerLayer;
/// use towerkit_core::Call;
///
/// struct Fetch { host: String }
///
/// let by_host = |call: &Call<'_, Fetch>| Some(call.request.host.clone());
/// let layer = KeyedCircuitBreakerLayer::new(1_000, by_host)?;
/// assert_eq!(layer.handle().capacity(), 1_000);
/// assert_eq!(layer.handle().snapshot("api.example.com"), None);
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
///
/// # Readiness
///
/// `poll_ready` does not know the key of the next call, so that it forwards to the inner service even if the breaker of that key is
/// open.
pub struct KeyedCircuitBreakerLayer<K: 'static, P = Plain> {
    policies: PolicyLayer<AsGuard<KeyedCircuitBreakerPolicy<K>>, P>,
    state: LayerState<Breakers>,
}

/// The service that a [`KeyedCircuitBreakerLayer`] makes.
pub type KeyedCircuitBreaker<S, K, P = Plain> =
    PolicyService<S, AsGuard<KeyedCircuitBreakerPolicy<K>>, P>;

impl<K: 'static> KeyedCircuitBreakerLayer<K> {
    /// Makes breakers for up to `capacity` keys, found by a [`KeyExtractor`].
    ///
    /// A slot takes 40 bytes, and a key with a breaker about 700 bytes and its [windows](crate::Window).
    ///
    /// # Errors
    ///
    /// If `capacity` is not 1 to 1 048 576.
    pub fn new(capacity: usize, extractor: K) -> Result<Self, ConfigError> {
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            let expected = "1 to 1048576 keys";
            return Err(ConfigError::new("capacity", capacity, expected));
        }
        let breakers = Breakers::new(Config::default(), capacity, WhenFull::Share);
        let policy = KeyedCircuitBreakerPolicy {
            extractor: Arc::new(extractor),
            breakers: breakers.clone(),
        };
        Ok(Self {
            policies: PolicyLayer::new(AsGuard::new(policy), Plain::default()),
            state: LayerState::new(breakers),
        })
    }
}

impl<K: 'static, P> KeyedCircuitBreakerLayer<K, P> {
    setters!();

    /// Decides about calls whose key finds no slot; by default they [share](WhenFull::Share) a breaker.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        let config = self.config().clone();
        self.replace(config, when_full)
    }

    /// Returns a handle to the breakers, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> KeyedCircuitBreakerHandle {
        KeyedCircuitBreakerHandle(self.state.handle())
    }

    fn breakers(&self) -> &Breakers {
        &self.policies.policy().get().breakers
    }

    fn config(&self) -> &Config {
        &self.breakers().0.config
    }

    fn with(self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config().clone();
        set(&mut config);
        let when_full = self.breakers().0.when_full;
        self.replace(config, when_full)
    }

    fn replace(mut self, config: Config, when_full: WhenFull) -> Self {
        let capacity = self.breakers().0.table.capacity();
        let breakers = Breakers::new(config, capacity, when_full);
        self.state.replace(breakers.clone());
        self.policies.policy_mut().get_mut().breakers = breakers;
        self
    }
}

impl<K: 'static, P: Clone> Clone for KeyedCircuitBreakerLayer<K, P> {
    fn clone(&self) -> Self {
        Self {
            policies: self.policies.clone(),
            state: self.state.clone(),
        }
    }
}

impl<K: 'static, P> fmt::Debug for KeyedCircuitBreakerLayer<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyedCircuitBreakerLayer")
            .field(self.policies.policy())
            .finish()
    }
}

policy_layer!(
    KeyedCircuitBreakerLayer<K> { state },
    AsGuard<KeyedCircuitBreakerPolicy<K>>,
    Plain
    where K: 'static
);

/// The guard behind a [`KeyedCircuitBreakerLayer`], shared by all of its services.
pub struct KeyedCircuitBreakerPolicy<K> {
    extractor: Arc<K>,
    breakers: Breakers,
}

/// The state of one call that has a breaker: the slot of its key, and the state of the call at this breaker.
#[derive(Debug, Clone, Copy)]
pub struct KeyedCallState {
    slot: u32,
    call: CallState,
}

impl<K> Policy for KeyedCircuitBreakerPolicy<K> {
    type CallState = Option<KeyedCallState>;

    #[inline(always)]
    fn on_response_head(&self, call: &mut Option<KeyedCallState>, so_far: &CallEnd) {
        if let Some(KeyedCallState { slot, call }) = call {
            self.breakers.breaker(*slot).head(call, so_far);
        }
    }

    #[inline(always)]
    fn finish(&self, call: Option<KeyedCallState>, end: &CallEnd) {
        if let Some(KeyedCallState { slot, call }) = call {
            self.breakers.breaker(slot).finish(call, end);
        }
    }
}

impl<Req, K: KeyExtractor<Req>> Guard<Req> for KeyedCircuitBreakerPolicy<K> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Option<KeyedCallState>, Rejection> {
        let Shared { table, hasher, .. } = &*self.breakers.0;
        let tag = |key: Option<&K::Key>| key.map(|key| hasher.tag(key));
        let Some(tag) = self.extractor.with_key(call, tag) else {
            return self.breakers.admit_without_key(K::REQUIRED);
        };
        loop {
            let Some(slot) = table.slot(tag) else {
                return self.breakers.admit_without_slot();
            };
            let breaker = self.breakers.breaker(slot);
            let admitted = breaker.admit(call);
            if table.is_owned_by(slot, tag) {
                return admitted.map(|call| Some(KeyedCallState { slot, call }));
            }
            // The key was evicted, or the eviction was tried, while its breaker decided.
            if let Ok(call) = admitted {
                breaker.cancel(call);
            }
        }
    }
}

impl<K> Clone for KeyedCircuitBreakerPolicy<K> {
    fn clone(&self) -> Self {
        Self {
            extractor: self.extractor.clone(),
            breakers: self.breakers.clone(),
        }
    }
}

impl<K> fmt::Debug for KeyedCircuitBreakerPolicy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.breakers.fmt(f)
    }
}

/// The breakers that all services of one layer share.
#[derive(Clone)]
struct Breakers(Arc<Shared>);

struct Shared {
    table: BreakerTable,
    hasher: KeyHasher,
    config: Config,
    when_full: WhenFull,
}

impl Breakers {
    fn new(config: Config, capacity: usize, when_full: WhenFull) -> Self {
        let share = when_full == WhenFull::Share;
        Self(Arc::new(Shared {
            table: BreakerTable::new(config.clone(), capacity, share),
            hasher: KeyHasher::new(),
            config,
            when_full,
        }))
    }

    #[inline(always)]
    fn breaker(&self, slot: u32) -> Breaker<'_> {
        Breaker {
            machine: self.0.table.machine(slot),
            config: &self.0.config,
        }
    }

    fn admit_without_key(&self, required: bool) -> Result<Option<KeyedCallState>, Rejection> {
        if required {
            let name = self.0.config.name.clone();
            return Err(Rejection::new(RejectionReason::Unavailable, name));
        }
        Ok(None)
    }

    #[cold]
    fn admit_without_slot(&self) -> Result<Option<KeyedCallState>, Rejection> {
        if self.0.when_full == WhenFull::Reject {
            let name = self.0.config.name.clone();
            return Err(Rejection::new(RejectionReason::Overloaded, name));
        }
        Ok(None)
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker")
            .field("name", &self.0.config.name)
            .field("keys", &self.0.table.len())
            .field("capacity", &self.0.table.capacity())
            .finish_non_exhaustive()
    }
}

/// Observes, updates and overrides the breakers of a [`KeyedCircuitBreakerLayer`].
///
/// Methods for one key take the value that the [`KeyExtractor`] finds, or one with the same [`Hash`], such as [`str`] for [`String`].
#[derive(Clone)]
pub struct KeyedCircuitBreakerHandle(StateHandle<Breakers>);

impl KeyedCircuitBreakerHandle {
    /// Returns the name of the breakers, as in their rejections and events.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.get().0.config.name.clone()
    }

    /// Returns the number of keys that have a breaker.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.0.get().0.table.len()
    }

    /// Returns the number of keys that can have a breaker at the same time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.get().0.table.capacity()
    }

    /// Returns a snapshot of a key's breaker; `None` if the key has no breaker.
    #[must_use]
    pub fn snapshot<K: Hash + ?Sized>(&self, key: &K) -> Option<CircuitBreakerSnapshot> {
        let Breakers(shared) = self.0.get();
        let (tag, now) = (shared.hasher.tag(key), shared.config.clock.now());
        shared.table.with(tag, |machine| machine.snapshot(now))
    }

    /// Returns a snapshot of the breaker that keys without a slot [share](WhenFull::Share).
    ///
    /// Returns `None` if [`when_full`](KeyedCircuitBreakerLayer::when_full) has another value.
    #[must_use]
    pub fn shared_snapshot(&self) -> Option<CircuitBreakerSnapshot> {
        let Breakers(shared) = self.0.get();
        let now = shared.config.clock.now();
        shared.table.shared().map(|machine| machine.snapshot(now))
    }

    /// Sets the mode of one key's breaker, which is made if needed.
    ///
    /// Returns false if there is no slot for the key. A key in another mode than that of [`set_mode_of_all`](Self::set_mode_of_all) is not evicted.
    pub fn set_mode<K: Hash + ?Sized>(&self, key: &K, mode: Mode) -> bool {
        let Breakers(shared) = self.0.get();
        let tag = shared.hasher.tag(key);
        let set = shared.table.with_new(tag, |machine| machine.set_mode(mode));
        set.is_some()
    }

    /// Sets the mode of all breakers, and of those made later.
    pub fn set_mode_of_all(&self, mode: Mode) {
        self.0.get().0.table.set_mode_of_all(mode);
    }

    /// Returns the current options.
    #[must_use]
    pub fn options(&self) -> CircuitBreakerOptions {
        self.0.get().0.table.options()
    }

    /// Replaces the options of all breakers, and of those made later.
    ///
    /// Each breaker changes as in [`CircuitBreakerHandle::update`](crate::CircuitBreakerHandle::update).
    pub fn update(&self, options: CircuitBreakerOptions) {
        self.0.get().0.table.update(options);
    }
}

impl fmt::Debug for KeyedCircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
