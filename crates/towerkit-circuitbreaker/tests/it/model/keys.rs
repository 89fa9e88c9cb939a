//! Breakers by key, compared with one model for each key.

use std::{collections::HashMap, time::Duration};

use proptest::{prelude::*, sample::Index, test_runner::TestCaseError};
use towerkit_circuitbreaker::{
    KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer, KeyedCircuitBreakerPolicy, OpenWhen,
    State, WhenFull,
};
use towerkit_core::{Call, CallEnd, Clock, Guard, IntoPolicy, ManualClock, Outcome, Plain, Policy};

const CAPACITY: usize = 3;
const KEYS: u8 = 6;
const LIMIT: u64 = 2;
const OPEN_FOR: u64 = 10;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Start(u8),
    CallEnd(Index, bool),
    Advance(u64),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..KEYS).prop_map(Step::Start),
        5 => (any::<Index>(), any::<bool>()).prop_map(|(call, good)| Step::CallEnd(call, good)),
        1 => (0..8_u64).prop_map(Step::Advance),
    ]
}

type ByRequest = fn(&Call<'_, u8>) -> Option<u8>;
type Breaker = KeyedCircuitBreakerPolicy<ByRequest>;

/// The breakers, and a model for each key that has a breaker.
pub(crate) struct Keys {
    breaker: Breaker,
    handle: KeyedCircuitBreakerHandle,
    clock_control: ManualClock,
    now: u64,
    models: HashMap<u8, Model>,
    calls: Vec<(<Breaker as Policy>::CallState, u8, u64)>,
    generations: u64,
}

/// A model of a breaker that opens after two consecutive failures, from the first call of its key until its eviction.
#[derive(Debug, Clone, Copy)]
struct Model {
    state: State,
    failures: u64,
    opened: u64,
    probing: bool,
    /// The number of the state in the sequence of the states of all keys.
    generation: u64,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let (clock, clock_control) = Clock::manual();
        let by_request: ByRequest = |call| Some(*call.request);
        let layer = KeyedCircuitBreakerLayer::new(CAPACITY, by_request)
            .and_then(|layer| layer.open_for(Duration::from_nanos(OPEN_FOR)))
            .unwrap()
            .open_when(OpenWhen::consecutive_failures(LIMIT as u32).unwrap())
            .when_full(WhenFull::Bypass)
            .clock(clock);
        Self {
            handle: layer.handle(),
            breaker: layer.into_policy().get().clone(),
            clock_control,
            now: 0,
            models: HashMap::new(),
            calls: Vec::new(),
            generations: 0,
        }
    }

    pub(crate) fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Start(key) => self.start(*key)?,
            Step::CallEnd(call, good) if !self.calls.is_empty() => {
                let (call_state, key, generation) =
                    self.calls.swap_remove(call.index(self.calls.len()));
                let outcome = if *good {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                self.breaker.finish(call_state, &CallEnd::new(outcome));
                self.finish(key, generation, *good);
            }
            Step::CallEnd(..) => {}
            Step::Advance(nanos) => {
                self.clock_control.advance(Duration::from_nanos(*nanos));
                self.now += nanos;
            }
        }
        self.compare()
    }

    fn start(&mut self, key: u8) -> Result<(), TestCaseError> {
        let protocol = Plain::new("test");
        let admitted = self.breaker.admit(&mut Call::new(&mut { key }, &protocol));
        self.update_models(key)?;
        let Some(model) = self.models.get_mut(&key) else {
            // The call passes without a breaker only if no other key is idle.
            let idle = self.models.values().filter(|model| model.is_idle());
            prop_assert!(admitted.is_ok() && idle.count() == 0);
            return Ok(());
        };
        let expected = model.admit(self.now, &mut self.generations);
        prop_assert_eq!(admitted.is_ok(), expected.is_some());
        if let (Ok(call_state), Some(generation)) = (admitted, expected) {
            self.calls.push((call_state, key, generation));
        }
        Ok(())
    }

    /// Updates the models for a new key and for the key that was evicted for it, which must have been idle.
    fn update_models(&mut self, key: u8) -> Result<(), TestCaseError> {
        for other in 0..KEYS {
            if self.handle.snapshot(&other).is_none()
                && let Some(left) = self.models.remove(&other)
            {
                prop_assert!(left.is_idle() && self.models.len() == CAPACITY - 1);
            }
        }
        if self.handle.snapshot(&key).is_some() {
            self.generations += 1;
            let new = Model::new(self.generations);
            self.models.entry(key).or_insert(new);
        }
        Ok(())
    }

    fn finish(&mut self, key: u8, generation: u64, good: bool) {
        if let Some(model) = self.models.get_mut(&key)
            && model.generation == generation
        {
            model.finish(good, self.now, &mut self.generations);
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.handle.keys(), self.models.len());
        for (key, model) in &self.models {
            let snapshot = self.handle.snapshot(key).unwrap();
            prop_assert_eq!(snapshot.state, model.state);
            prop_assert_eq!(snapshot.failures, model.failures);
            prop_assert_eq!(snapshot.probes_in_flight, u16::from(model.probing));
        }
        Ok(())
    }
}

impl Model {
    fn new(generation: u64) -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            opened: 0,
            probing: false,
            generation,
        }
    }

    fn is_idle(&self) -> bool {
        self.state == State::Closed && self.failures == 0
    }

    fn admit(&mut self, now: u64, generations: &mut u64) -> Option<u64> {
        if self.state == State::Open && now - self.opened >= OPEN_FOR {
            self.change_state(State::HalfOpen, generations);
        }
        match self.state {
            State::Closed => {}
            State::HalfOpen if !self.probing => self.probing = true,
            _ => return None,
        }
        Some(self.generation)
    }

    fn finish(&mut self, good: bool, now: u64, generations: &mut u64) {
        self.failures = if good { 0 } else { self.failures + 1 };
        if good && self.state == State::HalfOpen {
            self.change_state(State::Closed, generations);
        } else if self.state == State::HalfOpen || self.failures == LIMIT {
            self.opened = now;
            self.change_state(State::Open, generations);
        }
    }

    fn change_state(&mut self, to: State, generations: &mut u64) {
        *generations += 1;
        *self = Self {
            state: to,
            opened: self.opened,
            ..Self::new(*generations)
        };
    }
}
