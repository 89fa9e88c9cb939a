//! The breaker and the model, side by side.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestCaseError};
use towerkit_circuitbreaker::{
    CircuitBreakerHandle, CircuitBreakerLayer, CircuitBreakerPolicy, Mode,
};
use towerkit_core::{
    Call, CallEnd, Clock, Event, Guard, IntoPolicy, ManualClock, Outcome, Plain, Policy,
    RejectionReason,
};

use super::{
    options::{Conditions, Given},
    reference::{Admitted, Model},
    steps::{Ending, Step},
};

pub(crate) struct Both {
    handle: CircuitBreakerHandle,
    breaker: CircuitBreakerPolicy,
    hand: ManualClock,
    pub(crate) events: Arc<Mutex<Vec<(String, String)>>>,
    pub(crate) model: Model,
    calls: Vec<(<CircuitBreakerPolicy as Policy>::CallState, Admitted)>,
}

impl Both {
    pub(crate) fn new(given: Given) -> Self {
        let (clock, hand) = Clock::manual();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let now = i128::from(clock.now());
        let layer = CircuitBreakerLayer::new()
            .options(given.options())
            .clock(clock)
            .events(move |event: &Event| {
                if let Event::CircuitChanged { from, to, .. } = event {
                    let change = (from.to_string(), to.to_string());
                    sink.lock().unwrap().push(change);
                }
            });
        Self {
            handle: layer.handle(),
            breaker: layer.into_policy().get().clone(),
            hand,
            events,
            model: Model::new(given, now),
            calls: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.run_step(step)?;
        // A snapshot looks for calls that hang, and so does the model.
        let _ = self.handle.snapshot();
        self.model.look_for_hanging();
        Ok(())
    }

    fn run_step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Start => self.start()?,
            Step::CallEnd(call, ending) if !self.calls.is_empty() => {
                let (held, admitted) = self.calls.swap_remove(call.index(self.calls.len()));
                self.breaker.finish(held, &end(*ending));
                self.model.finish(admitted, *ending);
            }
            Step::CallEnd(..) => {}
            Step::Advance(nanos) => {
                self.hand.advance(Duration::from_nanos(*nanos));
                self.model.now += i128::from(*nanos);
            }
            Step::Switch(mode) => {
                self.switch(*mode);
                self.model.switch(*mode);
            }
            Step::Apply(given) => self.update(**given),
            Step::Limits(given) => {
                let conditions = limits_of(self.model.given.conditions, given.conditions);
                self.update(Given {
                    conditions,
                    ..**given
                });
            }
        }
        Ok(())
    }

    pub(crate) fn compare(&self) -> Result<(), TestCaseError> {
        let snapshot = self.handle.snapshot();
        let (results, failures, slow) = self.model.shown();
        prop_assert_eq!(snapshot.state, self.model.state);
        prop_assert_eq!(snapshot.mode, self.model.mode);
        prop_assert_eq!(snapshot.results, results as u64);
        prop_assert_eq!(snapshot.failures, failures as u64);
        prop_assert_eq!(snapshot.slow, slow as u64);
        prop_assert_eq!(usize::from(snapshot.probes_in_flight), self.model.in_flight);
        prop_assert_eq!(usize::from(snapshot.probes_succeeded), self.model.succeeded);
        prop_assert_eq!(snapshot.let_through, self.model.let_through);
        Ok(())
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        let protocol = Plain::new("test");
        let shut = Guard::<()>::early_rejection(&self.breaker);
        let admitted = self.breaker.admit(&mut Call::new(&mut (), &protocol));
        match (admitted, self.model.admit()) {
            (Ok(held), Ok(admitted)) => {
                prop_assert!(shut.is_none());
                self.calls.push((held, admitted));
            }
            (Err(rejection), Err(wait)) => {
                prop_assert_eq!(rejection.reason(), RejectionReason::CircuitOpen);
                prop_assert_eq!(rejection.retry_after().map(|wait| wait.as_nanos()), wait);
                prop_assert_eq!(
                    shut.map(|shut| shut.retry_after()),
                    Some(rejection.retry_after())
                );
            }
            (breaker, model) => {
                prop_assert!(false, "breaker: {:?}, model: {:?}", breaker.is_ok(), model);
            }
        }
        Ok(())
    }

    fn switch(&self, mode: Mode) {
        match mode {
            Mode::Automatic => self.handle.release(),
            Mode::ForcedOpen => self.handle.force_open(),
            Mode::ForcedClosed => self.handle.force_closed(),
            Mode::Observing => self.handle.observe(),
            _ => self.handle.disable(),
        }
    }

    fn update(&mut self, given: Given) {
        self.handle.update(given.options());
        self.model.update(given);
    }
}

/// Returns the windows of `old` with the limits of `new`, where that has any.
fn limits_of(old: Conditions, new: Conditions) -> Conditions {
    let mut limits = old;
    let pairs = [
        (&mut limits.failures.of_last, new.failures.of_last),
        (&mut limits.failures.in_time, new.failures.in_time),
        (&mut limits.slow.of_last, new.slow.of_last),
        (&mut limits.slow.in_time, new.slow.in_time),
    ];
    for (old, new) in pairs {
        if let (Some(old), Some(new)) = (old, new) {
            (old.of, old.out_of) = (new.of, new.out_of);
            old.minimum = new.minimum.min(old.window);
        }
    }
    if let (Some(old), Some(new)) = (&mut limits.in_a_row, new.in_a_row) {
        *old = new;
    }
    if !limits.while_in_flight {
        limits.slow_after = new.slow_after;
    }
    limits
}

fn end(ending: Ending) -> CallEnd {
    match ending {
        Ending::Good => CallEnd::new(Outcome::Success),
        Ending::Bad => CallEnd::new(Outcome::Failure),
        Ending::Dropped => CallEnd::cancelled(),
        Ending::RefusedFurtherIn => CallEnd::rejected_for(RejectionReason::RateLimited),
    }
}
