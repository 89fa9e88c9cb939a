//! CB-08: random operations against a model that remembers everything and shares no code with the breaker.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use towerkit_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, State, Trip};
use towerkit_core::{Call, Clock, End, Event, Guard, ManualClock, Outcome, Plain, Policy, Reason};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(8),
        ..ProptestConfig::default()
    })]

    /// CB-08, for the count window and for consecutive failures.
    #[test]
    fn the_breaker_does_what_the_model_does(
        options in options(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut both = Both::new(options);
        for step in steps {
            both.run(&step)?;
            both.compare()?;
        }
        prop_assert_eq!(&*both.events.lock().unwrap(), &both.model.events);
    }
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    InARow(u32),
    Share {
        of: i128,
        out_of: i128,
        window: u16,
        minimum: u16,
    },
}

#[derive(Debug, Clone, Copy)]
struct Options {
    rule: Rule,
    probes: u16,
    open_for: u64,
}

fn options() -> impl Strategy<Value = Options> {
    let in_a_row = (1..6_u32).prop_map(Rule::InARow);
    let share = (1..13_u16, 1..13_u16, 1..8_i128, 0..8_i128).prop_map(|(one, other, of, more)| {
        Rule::Share {
            of,
            out_of: of + more,
            window: one.max(other),
            minimum: one.min(other),
        }
    });
    let rule = prop_oneof![1 => in_a_row, 2 => share];
    (rule, 1..4_u16, 1..30_u64).prop_map(|(rule, probes, open_for)| Options {
        rule,
        probes,
        open_for,
    })
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    End(Index, Ending),
    Advance(u64),
    Force(State),
    Release,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Good,
    Bad,
    Dropped,
    RefusedFurtherIn,
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        4 => Just(Ending::Good),
        6 => Just(Ending::Bad),
        1 => Just(Ending::Dropped),
        1 => Just(Ending::RefusedFurtherIn),
    ];
    let forced = prop_oneof![
        Just(State::ForcedOpen),
        Just(State::ForcedClosed),
        Just(State::Disabled),
    ];
    prop_oneof![
        20 => Just(Step::Start),
        20 => (any::<Index>(), ending).prop_map(|(call, ending)| Step::End(call, ending)),
        5 => (0..20_u64).prop_map(Step::Advance),
        1 => forced.prop_map(Step::Force),
        2 => Just(Step::Release),
    ]
}

/// The breaker and the model, side by side.
struct Both {
    breaker: CircuitBreaker,
    hand: ManualClock,
    events: Arc<Mutex<Vec<(String, String)>>>,
    model: Model,
    calls: Vec<(<CircuitBreaker as Policy>::Held, u64)>,
}

impl Both {
    fn new(options: Options) -> Self {
        let (clock, hand) = Clock::manual();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let layer = CircuitBreakerLayer::new()
            .trip(trip(options.rule))
            .open_for(Duration::from_nanos(options.open_for))
            .unwrap()
            .probes(options.probes)
            .unwrap()
            .clock(clock)
            .events(move |event: &Event| {
                if let Event::CircuitChanged { from, to, .. } = event {
                    sink.lock()
                        .unwrap()
                        .push((from.to_string(), to.to_string()));
                }
            });
        Self {
            breaker: layer.handle(),
            hand,
            events,
            model: Model::new(options),
            calls: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Start => self.start()?,
            Step::End(call, ending) if !self.calls.is_empty() => {
                let (held, period) = self.calls.swap_remove(call.index(self.calls.len()));
                self.breaker.finish(held, &end(*ending));
                self.model.finish(period, *ending);
            }
            Step::End(..) => {}
            Step::Advance(nanos) => {
                self.hand.advance(Duration::from_nanos(*nanos));
                self.model.now += i128::from(*nanos);
            }
            Step::Force(state) => {
                match state {
                    State::ForcedOpen => self.breaker.force_open(),
                    State::ForcedClosed => self.breaker.force_closed(),
                    _ => self.breaker.disable(),
                }
                self.model.force(*state);
            }
            Step::Release => {
                self.breaker.release();
                self.model.release();
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        let protocol = Plain::new("test");
        let admitted = self.breaker.admit(&mut Call::new(&mut (), &protocol));
        let shut = Guard::<()>::shut(&self.breaker);
        match (admitted, self.model.admit()) {
            (Ok(held), Ok(period)) => self.calls.push((held, period)),
            (Err(rejection), Err(wait)) => {
                prop_assert_eq!(rejection.reason(), Reason::CircuitOpen);
                prop_assert_eq!(rejection.wait().map(|wait| wait.as_nanos()), wait);
                prop_assert_eq!(shut.map(|shut| shut.wait()), Some(rejection.wait()));
            }
            (breaker, model) => {
                prop_assert!(false, "breaker: {:?}, model: {:?}", breaker.is_ok(), model);
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let snapshot = self.breaker.snapshot();
        let (results, failures) = self.model.counts();
        prop_assert_eq!(snapshot.state, self.model.state);
        prop_assert_eq!(snapshot.results as usize, results);
        prop_assert_eq!(snapshot.failures as usize, failures);
        prop_assert_eq!(usize::from(snapshot.probes_in_flight), self.model.in_flight);
        prop_assert_eq!(usize::from(snapshot.probes_succeeded), self.model.succeeded);
        Ok(())
    }
}

fn trip(rule: Rule) -> Trip {
    match rule {
        Rule::InARow(failures) => Trip::consecutive_failures(failures).unwrap(),
        Rule::Share {
            of,
            out_of,
            window,
            minimum,
        } => Trip::failure_rate(of as f64 / out_of as f64, window, minimum.into()).unwrap(),
    }
}

fn end(ending: Ending) -> End {
    match ending {
        Ending::Good => End::new(Outcome::Success),
        Ending::Bad => End::new(Outcome::Failure),
        Ending::Dropped => End::cancelled(),
        Ending::RefusedFurtherIn => End::refused_for(Reason::RateLimited),
    }
}

/// A breaker that keeps every result for ever and counts by looking through all of them.
struct Model {
    options: Options,
    state: State,
    period: u64,
    now: i128,
    opened: i128,
    history: Vec<(u64, bool)>,
    in_flight: usize,
    succeeded: usize,
    events: Vec<(String, String)>,
}

impl Model {
    fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Closed,
            period: 0,
            now: 0,
            opened: 0,
            history: Vec::new(),
            in_flight: 0,
            succeeded: 0,
            events: Vec::new(),
        }
    }

    fn go(&mut self, to: State) {
        self.events.push((self.state.to_string(), to.to_string()));
        self.state = to;
        self.period += 1;
        self.in_flight = 0;
        self.succeeded = 0;
        if to == State::Open {
            self.opened = self.now;
        }
    }

    fn admit(&mut self) -> Result<u64, Option<u128>> {
        if self.state == State::Open {
            let left = self.opened + i128::from(self.options.open_for) - self.now;
            if left > 0 {
                return Err(Some(left as u128));
            }
            self.go(State::HalfOpen);
        }
        if self.state == State::HalfOpen {
            if self.in_flight + self.succeeded >= usize::from(self.options.probes) {
                return Err(None);
            }
            self.in_flight += 1;
        }
        if self.state == State::ForcedOpen {
            return Err(None);
        }
        Ok(self.period)
    }

    fn finish(&mut self, period: u64, ending: Ending) {
        if period != self.period {
            return;
        }
        let failed = match ending {
            Ending::Good => Some(false),
            Ending::Bad => Some(true),
            Ending::Dropped | Ending::RefusedFurtherIn => None,
        };
        match (self.state, failed) {
            (State::HalfOpen, Some(true)) => self.go(State::Open),
            (State::HalfOpen, other) => {
                self.in_flight -= 1;
                self.succeeded += usize::from(other.is_some());
                if self.succeeded == usize::from(self.options.probes) {
                    self.go(State::Closed);
                }
            }
            (State::Closed | State::ForcedClosed, Some(failed)) => {
                self.history.push((period, failed));
                if self.state == State::Closed && self.trips() {
                    self.go(State::Open);
                }
            }
            _ => {}
        }
    }

    fn force(&mut self, to: State) {
        if self.state != to {
            self.go(to);
        }
    }

    fn release(&mut self) {
        if matches!(
            self.state,
            State::ForcedOpen | State::ForcedClosed | State::Disabled
        ) {
            self.go(State::Closed);
        }
    }

    fn trips(&self) -> bool {
        let (results, failures) = self.counts();
        match self.options.rule {
            Rule::InARow(limit) => failures >= limit as usize,
            Rule::Share {
                of,
                out_of,
                minimum,
                ..
            } => {
                results >= usize::from(minimum) && failures as i128 * out_of >= of * results as i128
            }
        }
    }

    fn counts(&self) -> (usize, usize) {
        let of_this_period = self
            .history
            .iter()
            .rev()
            .filter(|(period, _)| *period == self.period);
        match self.options.rule {
            Rule::InARow(_) => {
                let failures = of_this_period.take_while(|(_, failed)| *failed).count();
                (failures, failures)
            }
            Rule::Share { window, .. } => {
                let window: Vec<_> = of_this_period.take(usize::from(window)).collect();
                let failures = window.iter().filter(|(_, failed)| *failed).count();
                (window.len(), failures)
            }
        }
    }
}
