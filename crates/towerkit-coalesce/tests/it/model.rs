//! Random calls, responses and drops, compared with a model that shares no code with the layer.

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use std::task::Poll;
use tower_service::Service;
use towerkit_coalesce::{Coalesce, CoalesceHandle, CoalesceLayer};
use towerkit_core::{KeyFn, Layer, LayerExt, Plain};
use towerkit_test::{MockError, MockService, Task};

#[derive(Debug, Clone)]
enum Step {
    Call(u8),
    Poll(Index),
    Drop(Index),
    Answer(Index, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2_u8).prop_map(Step::Call),
        6 => any::<Index>().prop_map(Step::Poll),
        1 => any::<Index>().prop_map(Step::Drop),
        2 => (any::<Index>(), prop::bool::weighted(0.4)).prop_map(|(at, is_good)| Step::Answer(at, is_good)),
    ]
}

/// A caller in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Caller {
    /// Makes a call, as the leader of a shared call or alone.
    Calls(usize, Option<usize>),
    /// Waits for a shared call, and may wait for this number of further ones.
    Waits(usize, usize),
    Over,
}

/// The end of a shared call of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flight {
    Open,
    Shared(u64),
    Failed,
}

#[derive(Debug, Default)]
struct Model {
    waits: usize,
    /// The key and the response of each call.
    calls: Vec<(u8, Option<bool>)>,
    flights: Vec<(u8, Flight)>,
    callers: Vec<(u8, Caller)>,
    /// The callers that were polled since they started to wait, and so must be woken.
    expects: Vec<bool>,
    woken: Vec<u32>,
    shared: u64,
}

impl Model {
    fn lead(&mut self, key: u8) -> Caller {
        self.flights.push((key, Flight::Open));
        self.calls.push((key, None));
        Caller::Calls(self.calls.len() - 1, Some(self.flights.len() - 1))
    }

    fn in_flight(&self, key: u8) -> Option<usize> {
        let open = |&(of, flight): &(u8, Flight)| of == key && flight == Flight::Open;
        self.flights.iter().position(open)
    }

    fn call(&mut self, key: u8) {
        let caller = match self.in_flight(key) {
            Some(flight) => Caller::Waits(flight, self.waits),
            None => self.lead(key),
        };
        self.callers.push((key, caller));
        self.expects.push(false);
        self.woken.push(0);
    }

    fn wake(&mut self, who: impl Fn(Caller) -> bool) {
        for at in 0..self.callers.len() {
            if self.expects[at] && who(self.callers[at].1) {
                self.expects[at] = false;
                self.woken[at] += 1;
            }
        }
    }

    fn answer(&mut self, call: usize, is_good: bool) {
        self.calls[call].1 = Some(is_good);
        self.wake(|caller| matches!(caller, Caller::Calls(of, _) if of == call));
    }

    fn land(&mut self, flight: usize, how: Flight) {
        self.flights[flight].1 = how;
        self.wake(|caller| matches!(caller, Caller::Waits(of, _) if of == flight));
    }

    /// Returns the expected result of a poll: pending, the number of a call, or a failure.
    fn poll(&mut self, at: usize) -> Option<Option<u64>> {
        let (key, caller) = self.callers[at];
        let (now, result) = match caller {
            Caller::Over => unreachable!("not polled"),
            Caller::Calls(call, flight) => match self.calls[call].1 {
                None => (caller, None),
                Some(is_good) => {
                    let answer = is_good.then_some(call as u64);
                    if let Some(flight) = flight {
                        self.land(flight, answer.map_or(Flight::Failed, Flight::Shared));
                    }
                    (Caller::Over, Some(answer))
                }
            },
            Caller::Waits(flight, more) => match self.flights[flight].1 {
                Flight::Open => (caller, None),
                Flight::Shared(answer) => {
                    self.shared += 1;
                    (Caller::Over, Some(Some(answer)))
                }
                Flight::Failed => (self.next(key, more - 1), None),
            },
        };
        self.callers[at].1 = now;
        self.expects[at] = now != Caller::Over;
        result
    }

    fn next(&mut self, key: u8, more: usize) -> Caller {
        match self.in_flight(key) {
            None => self.lead(key),
            Some(flight) if more > 0 => Caller::Waits(flight, more),
            Some(_) => {
                self.calls.push((key, None));
                Caller::Calls(self.calls.len() - 1, None)
            }
        }
    }

    fn abandon(&mut self, at: usize) {
        let caller = std::mem::replace(&mut self.callers[at].1, Caller::Over);
        self.expects[at] = false;
        if let Caller::Calls(_, Some(flight)) = caller {
            self.land(flight, Flight::Failed);
        }
    }
}

type Key = fn(&u8) -> Option<u8>;

struct Both {
    mock: MockService,
    service: Coalesce<MockService, KeyFn<Key, u8>, Plain>,
    handle: CoalesceHandle<u8>,
    tasks: Vec<Task<Result<u64, MockError>>>,
    model: Model,
}

impl Both {
    fn new(waits: usize) -> Self {
        let mock = MockService::default();
        let key: Key = |key| Some(*key);
        let layer = CoalesceLayer::new(key)
            .max_waits(waits)
            .unwrap()
            .plain("mock");
        Self {
            service: layer.layer(mock.clone()),
            handle: layer.handle(),
            mock,
            tasks: Vec::new(),
            model: Model {
                waits,
                ..Model::default()
            },
        }
    }

    /// Picks a caller that has not ended.
    fn pick(&self, at: Index) -> Option<usize> {
        let on: Vec<_> = (0..self.tasks.len())
            .filter(|&at| !self.tasks[at].is_over())
            .collect();
        (!on.is_empty()).then(|| on[at.index(on.len())])
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Call(key) => {
                self.tasks.push(Task::new(self.service.call(key)));
                self.model.call(key);
            }
            Step::Poll(at) => {
                if let Some(at) = self.pick(at) {
                    self.poll(at)?;
                }
            }
            Step::Drop(at) => {
                if let Some(at) = self.pick(at) {
                    self.tasks[at].cancel();
                    self.model.abandon(at);
                }
            }
            Step::Answer(at, is_good) => {
                let open = self.mock.pending();
                if !open.is_empty() {
                    let call = open[at.index(open.len())];
                    let result = if is_good {
                        Ok(call as u64)
                    } else {
                        Err(MockError)
                    };
                    self.mock.respond_with(call, result);
                    self.model.answer(call, is_good);
                }
            }
        }
        self.compare()
    }

    fn poll(&mut self, at: usize) -> Result<(), TestCaseError> {
        let expected = self.model.poll(at);
        let seen = match self.tasks[at].poll() {
            Poll::Pending => None,
            Poll::Ready(result) => Some(result.ok()),
        };
        prop_assert_eq!(seen, expected);
        Ok(())
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let calls: Vec<_> = self.model.calls.iter().map(|(key, _)| *key).collect();
        prop_assert_eq!(self.mock.calls(), calls);
        for (task, woken) in self.tasks.iter().zip(&mut self.model.woken) {
            prop_assert_eq!(task.take_wakes(), std::mem::take(woken));
        }
        let snapshot = self.handle.snapshot();
        let open = |&&(_, flight): &&(u8, Flight)| flight == Flight::Open;
        prop_assert_eq!(
            snapshot.in_flight,
            self.model.flights.iter().filter(open).count()
        );
        prop_assert_eq!(snapshot.calls, self.model.flights.len() as u64);
        prop_assert_eq!(snapshot.shared, self.model.shared);
        Ok(())
    }

    /// Answers all calls until every caller has ended. Polls only callers that were woken or never polled.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let mut due: Vec<_> = (0..self.tasks.len())
            .filter(|&at| !self.model.expects[at])
            .collect();
        loop {
            due.retain(|&at| !self.tasks[at].is_over());
            for at in std::mem::take(&mut due) {
                self.poll(at)?;
            }
            for call in self.mock.pending() {
                self.mock.respond(call);
                self.model.answer(call, true);
            }
            due.extend((0..self.tasks.len()).filter(|&at| self.model.woken[at] > 0));
            self.compare()?;
            if due.is_empty() {
                break;
            }
        }
        prop_assert!(
            self.tasks.iter().all(Task::is_over),
            "somebody waits for ever"
        );
        prop_assert_eq!(self.handle.snapshot().in_flight, 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    /// T-03, T-06: every caller gets the result of the model, is woken exactly when the model expects it, and ends.
    #[test]
    fn the_layer_agrees_with_the_model(
        waits in 1..4_usize,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut both = Both::new(waits);
        for step in steps {
            both.run(step)?;
        }
        both.settle()?;
    }
}
