//! Breakers by key, beside one model for each key.

use std::{collections::HashMap, time::Duration};

use proptest::{prelude::*, sample::Index, test_runner::TestCaseError};
use towerkit_circuitbreaker::{
    Key, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer, KeyedCircuitBreakerPolicy, OpenWhen,
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

type Find = fn(&Call<'_, u8>) -> Option<Key>;
type Breaker = KeyedCircuitBreakerPolicy<Find>;

/// The table, and what each key that has a breaker should remember.
pub(crate) struct Keys {
    breaker: Breaker,
    handle: KeyedCircuitBreakerHandle,
    hand: ManualClock,
    now: u64,
    models: HashMap<u8, Model>,
    calls: Vec<(<Breaker as Policy>::CallState, u8, u64)>,
    periods: u64,
}

/// A breaker that opens at the second failure in a row, from when its key came until it leaves.
#[derive(Debug, Clone, Copy)]
struct Model {
    state: State,
    failures: u64,
    opened: u64,
    probing: bool,
    /// The number of the state, over all keys and all stays.
    period: u64,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let (clock, hand) = Clock::manual();
        let find: Find = |call| Some(Key::new(*call.request));
        let layer = KeyedCircuitBreakerLayer::new(CAPACITY, find)
            .and_then(|layer| layer.open_for(Duration::from_nanos(OPEN_FOR)))
            .unwrap()
            .open_when(OpenWhen::consecutive_failures(LIMIT as u32).unwrap())
            .when_full(WhenFull::Unguarded)
            .clock(clock);
        Self {
            handle: layer.handle(),
            breaker: layer.into_policy().get().clone(),
            hand,
            now: 0,
            models: HashMap::new(),
            calls: Vec::new(),
            periods: 0,
        }
    }

    pub(crate) fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Start(key) => self.start(*key)?,
            Step::CallEnd(call, good) if !self.calls.is_empty() => {
                let (held, key, period) = self.calls.swap_remove(call.index(self.calls.len()));
                let outcome = if *good {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                self.breaker.finish(held, &CallEnd::new(outcome));
                self.finish(key, period, *good);
            }
            Step::CallEnd(..) => {}
            Step::Advance(nanos) => {
                self.hand.advance(Duration::from_nanos(*nanos));
                self.now += nanos;
            }
        }
        self.compare()
    }

    fn start(&mut self, key: u8) -> Result<(), TestCaseError> {
        let protocol = Plain::new("test");
        let admitted = self.breaker.admit(&mut Call::new(&mut { key }, &protocol));
        self.follow_comings_and_goings(key)?;
        let Some(model) = self.models.get_mut(&key) else {
            // Unguarded, which only happens where every other key remembers something bad.
            let spotless = self.models.values().filter(|model| model.is_spotless());
            prop_assert!(admitted.is_ok() && spotless.count() == 0);
            return Ok(());
        };
        let expected = model.admit(self.now, &mut self.periods);
        prop_assert_eq!(admitted.is_ok(), expected.is_some());
        if let (Ok(held), Some(period)) = (admitted, expected) {
            self.calls.push((held, key, period));
        }
        Ok(())
    }

    /// Takes note of a key that came, and of the one that left for it, which must have been spotless.
    fn follow_comings_and_goings(&mut self, key: u8) -> Result<(), TestCaseError> {
        for other in 0..KEYS {
            if self.handle.snapshot(Key::new(other)).is_none()
                && let Some(left) = self.models.remove(&other)
            {
                prop_assert!(left.is_spotless() && self.models.len() == CAPACITY - 1);
            }
        }
        if self.handle.snapshot(Key::new(key)).is_some() {
            self.periods += 1;
            let new = Model::new(self.periods);
            self.models.entry(key).or_insert(new);
        }
        Ok(())
    }

    fn finish(&mut self, key: u8, period: u64, good: bool) {
        if let Some(model) = self.models.get_mut(&key)
            && model.period == period
        {
            model.finish(good, self.now, &mut self.periods);
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.handle.keys(), self.models.len());
        for (key, model) in &self.models {
            let snapshot = self.handle.snapshot(Key::new(*key)).unwrap();
            prop_assert_eq!(snapshot.state, model.state);
            prop_assert_eq!(snapshot.failures, model.failures);
            prop_assert_eq!(snapshot.probes_in_flight, u16::from(model.probing));
        }
        Ok(())
    }
}

impl Model {
    fn new(period: u64) -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            opened: 0,
            probing: false,
            period,
        }
    }

    fn is_spotless(&self) -> bool {
        self.state == State::Closed && self.failures == 0
    }

    fn admit(&mut self, now: u64, periods: &mut u64) -> Option<u64> {
        if self.state == State::Open && now - self.opened >= OPEN_FOR {
            self.go(State::HalfOpen, periods);
        }
        match self.state {
            State::Closed => {}
            State::HalfOpen if !self.probing => self.probing = true,
            _ => return None,
        }
        Some(self.period)
    }

    fn finish(&mut self, good: bool, now: u64, periods: &mut u64) {
        self.failures = if good { 0 } else { self.failures + 1 };
        if good && self.state == State::HalfOpen {
            self.go(State::Closed, periods);
        } else if self.state == State::HalfOpen || self.failures == LIMIT {
            self.opened = now;
            self.go(State::Open, periods);
        }
    }

    fn go(&mut self, to: State, periods: &mut u64) {
        *periods += 1;
        *self = Self {
            state: to,
            opened: self.opened,
            ..Self::new(*periods)
        };
    }
}
