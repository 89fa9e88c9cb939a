//! Random calls, responses and invalidations, compared with a model that shares no code with the layer.

use std::{sync::LazyLock, task::Poll, time::Duration};

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use tower::util::BoxCloneService;
use tower_service::Service;
use towerkit_cache::{CacheHandle, CacheLayer, CacheSnapshot, Capacity, Lifetime};
use towerkit_core::{Clock, Layer, LayerExt, ManualClock, Outcome, Plain};
use towerkit_test::{MockError, MockService, Task};

/// Responses from here on count as client errors, which are not cached.
const GONE: u64 = 1 << 32;

#[derive(Debug, Clone, Copy)]
enum MockResponse {
    Good,
    Gone,
    Failed,
}

#[derive(Debug, Clone)]
enum Step {
    Call,
    Poll(Index),
    Drop(Index),
    Respond(Index, MockResponse),
    Advance(u64),
    Invalidate,
    Clear,
    SetLifetime([u64; 3]),
}

fn lifetime() -> impl Strategy<Value = [u64; 3]> {
    (1..6_u64, 0..6_u64, 0..20_u64).prop_map(|(ttl, revalidate, error)| [ttl, revalidate, error])
}

fn step() -> impl Strategy<Value = Step> {
    let response = prop_oneof![
        4 => Just(MockResponse::Good),
        1 => Just(MockResponse::Gone),
        3 => Just(MockResponse::Failed),
    ];
    prop_oneof![
        5 => Just(Step::Call),
        8 => any::<Index>().prop_map(Step::Poll),
        1 => any::<Index>().prop_map(Step::Drop),
        6 => (any::<Index>(), response).prop_map(|(at, response)| Step::Respond(at, response)),
        3 => (0..8_u64).prop_map(Step::Advance),
        2 => Just(Step::Invalidate),
        1 => Just(Step::Clear),
        1 => lifetime().prop_map(Step::SetLifetime),
    ]
}

/// A response that was cached.
#[derive(Debug, Clone, Copy)]
struct CachedResponse {
    response: u64,
    stored_at: i128,
    lifetime: [i128; 3],
    /// The caller that fetches the next response.
    claimed_by: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    /// Has a cached response.
    Cached(u64),
    /// Waits for a call of the inner service, made after this number of invalidations.
    Fetching(usize, u64),
    Ended,
}

#[derive(Debug, Default)]
struct Model {
    now: i128,
    lifetime: [i128; 3],
    /// All responses that were cached, and the index of the current one.
    cached: Vec<CachedResponse>,
    current: Option<usize>,
    invalidations: u64,
    responses: Vec<Option<MockResponse>>,
    callers: Vec<Caller>,
    hits: u64,
    stale: u64,
    misses: u64,
}

impl Model {
    fn call(&mut self) {
        let caller = match self.find() {
            Some(response) => Caller::Cached(response),
            None => {
                self.misses += 1;
                self.responses.push(None);
                Caller::Fetching(self.responses.len() - 1, self.invalidations)
            }
        };
        self.callers.push(caller);
    }

    fn find(&mut self) -> Option<u64> {
        let cached = &mut self.cached[self.current?];
        let age = self.now - cached.stored_at;
        let [ttl, revalidate, _] = cached.lifetime;
        if age < ttl {
            self.hits += 1;
            return Some(cached.response);
        }
        if age >= ttl + revalidate {
            return None;
        }
        if cached.claimed_by.is_some() {
            self.stale += 1;
            return Some(cached.response);
        }
        cached.claimed_by = Some(self.callers.len());
        None
    }

    /// Returns the expected result of a poll: pending, a response, or a failure.
    fn poll(&mut self, at: usize) -> Option<Option<u64>> {
        let result = match self.callers[at] {
            Caller::Ended => unreachable!("not polled"),
            Caller::Cached(response) => Some(response),
            Caller::Fetching(call, invalidations) => match self.responses[call]? {
                MockResponse::Failed => self.stale_response(),
                MockResponse::Gone => {
                    self.current = None;
                    Some(call as u64 + GONE)
                }
                MockResponse::Good => {
                    if invalidations == self.invalidations {
                        self.store(call as u64);
                    }
                    Some(call as u64)
                }
            },
        };
        self.end(at);
        Some(result)
    }

    fn store(&mut self, response: u64) {
        self.current = Some(self.cached.len());
        self.cached.push(CachedResponse {
            response,
            stored_at: self.now,
            lifetime: self.lifetime,
            claimed_by: None,
        });
    }

    fn stale_response(&mut self) -> Option<u64> {
        let cached = self.cached[self.current?];
        let age = self.now - cached.stored_at;
        let [ttl, _, error] = cached.lifetime;
        if age >= ttl + error {
            return None;
        }
        if age < ttl {
            self.hits += 1;
        } else {
            self.stale += 1;
        }
        Some(cached.response)
    }

    /// Ends a caller, and releases its claim.
    fn end(&mut self, at: usize) {
        self.callers[at] = Caller::Ended;
        let claimed = |cached: &&mut CachedResponse| cached.claimed_by == Some(at);
        for cached in self.cached.iter_mut().filter(claimed) {
            cached.claimed_by = None;
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
        Ok(response) if *response >= GONE => Outcome::ClientError,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    }
}

/// One layer for all sequences, each of which starts with an empty cache, because the map is expensive to create.
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

    /// Picks a caller that has not ended.
    fn pick(&self, at: Index) -> Option<usize> {
        let is_pending = |at: &usize| !self.tasks[*at].is_over();
        let pending: Vec<_> = (0..self.tasks.len()).filter(is_pending).collect();
        (!pending.is_empty()).then(|| pending[at.index(pending.len())])
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
                    self.model.end(at);
                }
            }
            Step::Respond(at, response) => self.respond(at, response),
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
            Step::SetLifetime(nanos) => {
                SUBJECT.handle.set_lifetime(lifetime_of(nanos));
                self.model.lifetime = nanos.map(i128::from);
            }
        }
        prop_assert_eq!(self.mock.calls().len(), self.model.responses.len());
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

    fn respond(&mut self, at: Index, response: MockResponse) {
        let open = self.mock.pending();
        if open.is_empty() {
            return;
        }
        let call = open[at.index(open.len())];
        let result = match response {
            MockResponse::Good => Ok(call as u64),
            MockResponse::Gone => Ok(call as u64 + GONE),
            MockResponse::Failed => Err(MockError),
        };
        self.mock.respond_with(call, result);
        self.model.responses[call] = Some(response);
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

    /// T-03: every caller gets the result of the model, one caller fetches while the others get the stale response, and no response
    /// outlives its invalidation.
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
