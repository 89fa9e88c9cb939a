//! A breaker and its model, on which the same operations run.

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
    options::{Conditions, ModelOptions},
    reference::{Admitted, Model},
    steps::{Ending, Step},
};

pub(crate) struct Comparison {
    handle: CircuitBreakerHandle,
    breaker: CircuitBreakerPolicy,
    clock_control: ManualClock,
    pub(crate) events: Arc<Mutex<Vec<(String, String)>>>,
    pub(crate) model: Model,
    calls: Vec<(<CircuitBreakerPolicy as Policy>::CallState, Admitted)>,
}

impl Comparison {
    pub(crate) fn new(options: ModelOptions) -> Self {
        let (clock, clock_control) = Clock::manual();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let now = i128::from(clock.now());
        let layer = CircuitBreakerLayer::new()
            .options(options.to_options())
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
            clock_control,
            events,
            model: Model::new(options, now),
            calls: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.run_step(step)?;
        // A snapshot counts slow calls in flight, and so does the model.
        let _ = self.handle.snapshot();
        self.model.count_slow_in_flight();
        Ok(())
    }

    fn run_step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Start => self.start()?,
            Step::CallEnd(call, ending) if !self.calls.is_empty() => {
                let (call_state, admitted) = self.calls.swap_remove(call.index(self.calls.len()));
                self.breaker.finish(call_state, &end(*ending));
                self.model.finish(admitted, *ending);
            }
            Step::CallEnd(..) => {}
            Step::Advance(nanos) => {
                self.clock_control.advance(Duration::from_nanos(*nanos));
                self.model.now += i128::from(*nanos);
            }
            Step::Switch(mode) => {
                self.switch(*mode);
                self.model.switch(*mode);
            }
            Step::Update(options) => self.update(**options),
            Step::Thresholds(options) => {
                let conditions = thresholds_of(self.model.options.conditions, options.conditions);
                self.update(ModelOptions {
                    conditions,
                    ..**options
                });
            }
        }
        Ok(())
    }

    pub(crate) fn compare(&self) -> Result<(), TestCaseError> {
        let snapshot = self.handle.snapshot();
        let (results, failures, slow) = self.model.totals();
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
        let early = Guard::<()>::early_rejection(&self.breaker);
        let admitted = self.breaker.admit(&mut Call::new(&mut (), &protocol));
        match (admitted, self.model.admit()) {
            (Ok(call_state), Ok(admitted)) => {
                prop_assert!(early.is_none());
                self.calls.push((call_state, admitted));
            }
            (Err(rejection), Err(wait)) => {
                prop_assert_eq!(rejection.reason(), RejectionReason::CircuitOpen);
                prop_assert_eq!(rejection.retry_after().map(|wait| wait.as_nanos()), wait);
                prop_assert_eq!(
                    early.map(|early| early.retry_after()),
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

    fn update(&mut self, options: ModelOptions) {
        self.handle.update(options.to_options());
        self.model.update(options);
    }
}

/// Returns the windows of `old` with the thresholds of `new`, if `new` has such thresholds.
fn thresholds_of(old: Conditions, new: Conditions) -> Conditions {
    let mut limits = old;
    let pairs = [
        (&mut limits.failures.by_count, new.failures.by_count),
        (&mut limits.failures.by_time, new.failures.by_time),
        (&mut limits.slow.by_count, new.slow.by_count),
        (&mut limits.slow.by_time, new.slow.by_time),
    ];
    for (old, new) in pairs {
        if let (Some(old), Some(new)) = (old, new) {
            (old.of, old.out_of) = (new.of, new.out_of);
            old.minimum = new.minimum.min(old.window);
        }
    }
    if let (Some(old), Some(new)) = (&mut limits.consecutive, new.consecutive) {
        *old = new;
    }
    if !limits.while_in_flight {
        limits.slow_after = new.slow_after;
    }
    limits
}

fn end(ending: Ending) -> CallEnd {
    match ending {
        Ending::Success => CallEnd::new(Outcome::Success),
        Ending::Failure => CallEnd::new(Outcome::Failure),
        Ending::Cancelled => CallEnd::cancelled(),
        Ending::Rejected => CallEnd::rejected_for(RejectionReason::RateLimited),
    }
}
