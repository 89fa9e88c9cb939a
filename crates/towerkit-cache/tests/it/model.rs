//! Random callers, answers and invalidations against a model that remembers every answer and shares no code with the layer.

use std::{sync::LazyLock, task::Poll, time::Duration};

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use tower::util::BoxCloneService;
use tower_service::Service;
use towerkit_cache::{CacheHandle, CacheLayer, CacheSnapshot, Capacity, Lifetime};
use towerkit_core::{Clock, Layer, LayerExt, ManualClock, Outcome, Plain};
use towerkit_test::{MockError, MockService, Task};

/// The answers from here on count as client errors: the callee says that there is nothing to keep.
const GONE: u64 = 1 << 32;

#[derive(Debug, Clone, Copy)]
enum Answer {
    Good,
    Gone,
    Failed,
}

#[derive(Debug, Clone)]
enum Step {
    Call,
    Poll(Index),
    Drop(Index),
    Answer(Index, Answer),
    Advance(u64),
    Invalidate,
    Clear,
    Change([u64; 3]),
}

fn lifetime() -> impl Strategy<Value = [u64; 3]> {
    (1..6_u64, 0..6_u64, 0..20_u64).prop_map(|(ttl, revalidate, error)| [ttl, revalidate, error])
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Good),
        1 => Just(Answer::Gone),
        3 => Just(Answer::Failed),
    ];
    prop_oneof![
        5 => Just(Step::Call),
        8 => any::<Index>().prop_map(Step::Poll),
        1 => any::<Index>().prop_map(Step::Drop),
        6 => (any::<Index>(), answer).prop_map(|(at, answer)| Step::Answer(at, answer)),
        3 => (0..8_u64).prop_map(Step::Advance),
        2 => Just(Step::Invalidate),
        1 => Just(Step::Clear),
        1 => lifetime().prop_map(Step::Change),
    ]
}

/// An answer that was kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    answer: u64,
    since: i128,
    lifetime: [i128; 3],
    /// Who fetches the next.
    claimed_by: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    Has(u64),
    /// Makes that call, asked for after so many invalidations.
    Calls(usize, u64),
    Over,
}

#[derive(Debug, Default)]
struct Model {
    now: i128,
    lifetime: [i128; 3],
    /// Everything that was ever kept, and which of it is kept now.
    kept: Vec<Kept>,
    current: Option<usize>,
    invalidations: u64,
    answers: Vec<Option<Answer>>,
    callers: Vec<Caller>,
    hits: u64,
    stale: u64,
    misses: u64,
}

impl Model {
    fn call(&mut self) {
        let caller = match self.find() {
            Some(answer) => Caller::Has(answer),
            None => {
                self.misses += 1;
                self.answers.push(None);
                Caller::Calls(self.answers.len() - 1, self.invalidations)
            }
        };
        self.callers.push(caller);
    }

    fn find(&mut self) -> Option<u64> {
        let kept = &mut self.kept[self.current?];
        let age = self.now - kept.since;
        let [ttl, revalidate, _] = kept.lifetime;
        if age < ttl {
            self.hits += 1;
            return Some(kept.answer);
        }
        if age >= ttl + revalidate {
            return None;
        }
        if kept.claimed_by.is_some() {
            self.stale += 1;
            return Some(kept.answer);
        }
        kept.claimed_by = Some(self.callers.len());
        None
    }

    /// What a poll returns: pending, an answer, or a failure.
    fn poll(&mut self, at: usize) -> Option<Option<u64>> {
        let result = match self.callers[at] {
            Caller::Over => unreachable!("not polled"),
            Caller::Has(answer) => Some(answer),
            Caller::Calls(call, asked) => match self.answers[call]? {
                Answer::Failed => self.stand_in(),
                Answer::Gone => {
                    self.current = None;
                    Some(call as u64 + GONE)
                }
                Answer::Good => {
                    if asked == self.invalidations {
                        self.keep(call as u64);
                    }
                    Some(call as u64)
                }
            },
        };
        self.leave(at);
        Some(result)
    }

    fn keep(&mut self, answer: u64) {
        self.current = Some(self.kept.len());
        self.kept.push(Kept {
            answer,
            since: self.now,
            lifetime: self.lifetime,
            claimed_by: None,
        });
    }

    fn stand_in(&mut self) -> Option<u64> {
        let kept = self.kept[self.current?];
        let age = self.now - kept.since;
        let [ttl, _, error] = kept.lifetime;
        if age >= ttl + error {
            return None;
        }
        if age < ttl {
            self.hits += 1;
        } else {
            self.stale += 1;
        }
        Some(kept.answer)
    }

    /// A caller is over, and claims nothing any more.
    fn leave(&mut self, at: usize) {
        self.callers[at] = Caller::Over;
        let claimed = |kept: &&mut Kept| kept.claimed_by == Some(at);
        for kept in self.kept.iter_mut().filter(claimed) {
            kept.claimed_by = None;
        }
    }

    fn invalidate(&mut self) {
        self.current = None;
        self.invalidations += 1;
    }
}

fn lifetime_of(nanos: [u64; 3]) -> Lifetime {
    let [ttl, revalidate, error] = nanos.map(Duration::from_nanos);
    let lifetime = Lifetime::new(ttl).unwrap();
    let lifetime = lifetime.stale_while_revalidate(revalidate).unwrap();
    lifetime.stale_if_error(error).unwrap()
}

fn outcome(result: &Result<u64, MockError>) -> Outcome {
    match result {
        Ok(answer) if *answer >= GONE => Outcome::ClientError,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    }
}

/// One layer for all sequences, each of which begins with nothing kept: a map is costly to make.
struct Subject {
    clock_control: ManualClock,
    handle: CacheHandle<u8>,
    service: Box<dyn Fn(MockService) -> BoxCloneService<u8, u64, MockError> + Send + Sync>,
}

static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let (clock, clock_control) = Clock::manual();
    let capacity = Capacity::entries(100).unwrap();
    let layer = CacheLayer::new(lifetime_of([1, 0, 0]), capacity, |key: &u8| Some(*key))
        .clock(clock)
        .protocol(Plain::new("mock").classify(outcome));
    Subject {
        clock_control,
        handle: layer.handle(),
        service: Box::new(move |mock| BoxCloneService::new(layer.layer(mock))),
    }
});

struct Both {
    mock: MockService,
    service: BoxCloneService<u8, u64, MockError>,
    tasks: Vec<Task<Result<u64, MockError>>>,
    model: Model,
    before: CacheSnapshot,
}

impl Both {
    fn new(lifetime: [u64; 3]) -> Self {
        SUBJECT.handle.clear();
        SUBJECT.handle.set_lifetime(lifetime_of(lifetime));
        let mock = MockService::default();
        Self {
            service: (SUBJECT.service)(mock.clone()),
            mock,
            tasks: Vec::new(),
            model: Model {
                lifetime: lifetime.map(i128::from),
                ..Model::default()
            },
            before: SUBJECT.handle.snapshot(),
        }
    }

    /// Picks one of those who go on.
    fn pick(&self, at: Index) -> Option<usize> {
        let goes_on = |at: &usize| !self.tasks[*at].is_over();
        let on: Vec<_> = (0..self.tasks.len()).filter(goes_on).collect();
        (!on.is_empty()).then(|| on[at.index(on.len())])
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Call => {
                self.tasks.push(Task::new(self.service.call(7)));
                self.model.call();
            }
            Step::Poll(at) => {
                if let Some(at) = self.pick(at) {
                    self.poll(at)?;
                }
            }
            Step::Drop(at) => {
                if let Some(at) = self.pick(at) {
                    self.tasks[at].cancel();
                    self.model.leave(at);
                }
            }
            Step::Answer(at, answer) => self.answer(at, answer),
            Step::Advance(nanos) => {
                SUBJECT.clock_control.advance(Duration::from_nanos(nanos));
                self.model.now += i128::from(nanos);
            }
            Step::Invalidate => {
                SUBJECT.handle.invalidate(&7);
                self.model.invalidate();
            }
            Step::Clear => {
                SUBJECT.handle.clear();
                self.model.invalidate();
            }
            Step::Change(nanos) => {
                SUBJECT.handle.set_lifetime(lifetime_of(nanos));
                self.model.lifetime = nanos.map(i128::from);
            }
        }
        prop_assert_eq!(self.mock.calls().len(), self.model.answers.len());
        Ok(())
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

    fn answer(&mut self, at: Index, answer: Answer) {
        let open = self.mock.pending();
        if open.is_empty() {
            return;
        }
        let call = open[at.index(open.len())];
        let result = match answer {
            Answer::Good => Ok(call as u64),
            Answer::Gone => Ok(call as u64 + GONE),
            Answer::Failed => Err(MockError),
        };
        self.mock.respond_with(call, result);
        self.model.answers[call] = Some(answer);
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (before, snapshot) = (self.before, SUBJECT.handle.snapshot());
        let seen = (
            snapshot.hits - before.hits,
            snapshot.stale - before.stale,
            snapshot.misses - before.misses,
        );
        let model = (self.model.hits, self.model.stale, self.model.misses);
        prop_assert_eq!(seen, model);
        let entries = u64::from(self.model.current.is_some());
        prop_assert_eq!((snapshot.entries, snapshot.weight), (entries, entries));
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

    /// T-03: every caller gets what the model says, one fetches while the others have the old answer, and nothing outlives its
    /// invalidation.
    #[test]
    fn the_layer_agrees_with_the_model(
        lifetime in lifetime(),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut both = Both::new(lifetime);
        for step in steps {
            both.run(step)?;
        }
        both.compare()?;
    }
}
