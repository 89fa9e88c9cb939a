//! Random operations on a queued limit against a model that keeps one list and shares no code with it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use tokio::runtime::{Builder, Runtime};
use towerkit_concurrency::{
    Class, Classes, ConcurrencyLimitHandle, ConcurrencyLimitLayer, ConcurrencyLimitPolicy, Permit,
    Priority, Queue, Sorted, Turn,
};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, IntoPolicy, Outcome, Plain, Policy, RejectionReason,
};
use towerkit_test::tokio_clock;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    /// LS-01, LS-04, LS-12: the order, the age, the bound and the priorities of a queue.
    #[test]
    fn the_queue_does_what_the_model_does(
        options in options(),
        steps in prop::collection::vec(step(), 1..32),
    ) {
        RUNTIME.with(|runtime| runtime.block_on(async {
            let mut both = Both::new(options);
            for step in steps {
                both.run(step).await?;
                both.compare()?;
            }
            both.wind_up()
        }))?;
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
}

#[derive(Debug, Clone, Copy)]
struct Options {
    limit: i128,
    size: usize,
    age: i128,
    newest_first: Option<i128>,
    overload: Option<(i128, i128)>,
}

fn options() -> impl Strategy<Value = Options> {
    let overload = prop::option::of((1..=5_i128, 1..=9_i128));
    let newest_first = prop::option::of(1..=9_i128);
    (1..=5_i128, 1..=4_usize, 5..=12_i128, newest_first, overload).prop_map(
        |(limit, size, age, newest_first, overload)| Options {
            limit,
            size,
            age,
            newest_first,
            overload,
        },
    )
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(Priority),
    Finish(Index),
    Poll(Index),
    Drop(Index),
    Advance(u64),
    Change(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop_oneof![
        3 => Just(Priority::Critical),
        2 => Just(Priority::Normal),
        2 => Just(Priority::Sheddable),
    ];
    prop_oneof![
        16 => priority.prop_map(Step::Begin),
        8 => any::<Index>().prop_map(Step::Finish),
        8 => any::<Index>().prop_map(Step::Poll),
        2 => any::<Index>().prop_map(Step::Drop),
        5 => (1..6_u64).prop_map(Step::Advance),
        1 => (1..7_u32).prop_map(Step::Change),
    ]
}

/// What has become of a call in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Waits,
    Admitted,
    Rejected,
}

/// A call of the model that has waited, in order of arrival.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    id: usize,
    priority: Priority,
    expires: i128,
    fate: Fate,
}

/// One list, from which everything is worked out anew each time. Times are in milliseconds.
struct Model {
    options: Options,
    limit: i128,
    in_flight: i128,
    now: i128,
    standing_since: i128,
    list: Vec<Waiter>,
}

impl Model {
    fn of(&self, priority: Priority) -> impl DoubleEndedIterator<Item = &Waiter> {
        let waits =
            move |waiter: &&Waiter| waiter.fate == Fate::Waits && waiter.priority == priority;
        self.list.iter().filter(waits)
    }

    fn waiting(&self) -> usize {
        self.list
            .iter()
            .filter(|waiter| waiter.fate == Fate::Waits)
            .count()
    }

    fn has_room(&self, priority: Priority) -> bool {
        let tenths = match priority {
            Priority::Critical => 10,
            Priority::Normal => 9,
            _ => 5,
        };
        self.in_flight < (self.limit * tenths / 10).max(1)
    }

    fn has_stood(&self, time: i128) -> bool {
        self.waiting() > 0 && self.now - self.standing_since >= time
    }

    fn newest_first(&self) -> bool {
        self.options
            .newest_first
            .is_some_and(|time| self.has_stood(time))
    }

    /// Returns `None` if the call is rejected, and otherwise whether it is admitted at once.
    fn begin(&mut self, id: usize, priority: Priority) -> Option<bool> {
        if self.waiting() == 0 && self.has_room(priority) {
            self.in_flight += 1;
            return Some(true);
        }
        let age = match self.options.overload {
            Some((age, time)) if self.has_stood(time) => age,
            _ => self.options.age,
        };
        if self.waiting() == 0 {
            self.standing_since = self.now;
        }
        if self.waiting() == self.options.size {
            let last = self.served_last(priority)?;
            self.settle(last, Fate::Rejected);
        }
        self.list.push(Waiter {
            id,
            priority,
            expires: self.now + age,
            fate: Fate::Waits,
        });
        self.serve();
        match self.list.last().map(|waiter| waiter.fate) {
            Some(Fate::Waits) => Some(false),
            Some(Fate::Admitted) => self.list.pop().map(|_| true),
            _ => {
                self.list.pop();
                None
            }
        }
    }

    fn served_last(&self, comes: Priority) -> Option<usize> {
        let newest_first = self.newest_first();
        for priority in [Priority::Sheddable, Priority::Normal, Priority::Critical] {
            let mut lane = self.of(priority);
            if priority > comes {
                let last = if newest_first {
                    lane.next()
                } else {
                    lane.next_back()
                };
                if let Some(last) = last {
                    return Some(last.id);
                }
            } else if priority == comes && newest_first {
                return lane.next().map(|waiter| waiter.id);
            }
        }
        None
    }

    fn settle(&mut self, id: usize, fate: Fate) {
        let waiter = self.list.iter_mut().find(|waiter| waiter.id == id).unwrap();
        waiter.fate = fate;
    }

    fn serve(&mut self) {
        'again: loop {
            let newest_first = self.newest_first();
            for priority in [Priority::Critical, Priority::Normal, Priority::Sheddable] {
                let mut lane = self.of(priority);
                let next = if newest_first {
                    lane.next_back()
                } else {
                    lane.next()
                };
                let Some(&Waiter { id, expires, .. }) = next else {
                    continue;
                };
                drop(lane);
                if expires <= self.now {
                    self.settle(id, Fate::Rejected);
                    continue 'again;
                }
                if self.has_room(priority) {
                    self.in_flight += 1;
                    self.settle(id, Fate::Admitted);
                    continue 'again;
                }
            }
            return;
        }
    }

    fn finish(&mut self) {
        self.in_flight -= 1;
        self.serve();
    }

    /// Takes a call off the list; what it was admitted to goes to the next.
    fn leave(&mut self, id: usize) -> Waiter {
        let at = self.list.iter().position(|waiter| waiter.id == id).unwrap();
        self.list.remove(at)
    }
}

type ByPriority = fn(&Call<'_, Priority>) -> Class;

struct Both {
    limit: ConcurrencyLimitPolicy<Sorted<ByPriority>>,
    handle: ConcurrencyLimitHandle,
    model: Model,
    permits: Vec<Permit>,
    turns: Vec<Waits>,
    next_id: usize,
}

struct Waits {
    id: usize,
    turn: Pin<Box<Turn>>,
    wakes: Arc<Wakes>,
    polled: bool,
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn ms(time: i128) -> Duration {
    Duration::from_millis(time as u64)
}

impl Both {
    fn new(options: Options) -> Self {
        let mut queue = Queue::new(options.size as u32, ms(options.age)).unwrap();
        if let Some(time) = options.newest_first {
            queue = queue.newest_first_after(ms(time)).unwrap();
        }
        if let Some((age, time)) = options.overload {
            queue = queue.age_under_overload(ms(age), ms(time)).unwrap();
        }
        let sort: ByPriority = |call| (*call.request).into();
        let layer = ConcurrencyLimitLayer::new(options.limit as u32)
            .unwrap()
            .clock(tokio_clock())
            .classes(Classes::new(), sort)
            .queue(queue);
        Self {
            handle: layer.handle(),
            limit: layer.into_policy().get().clone(),
            model: Model {
                options,
                limit: options.limit,
                in_flight: 0,
                now: 0,
                standing_since: 0,
                list: Vec::new(),
            },
            permits: Vec::new(),
            turns: Vec::new(),
            next_id: 0,
        }
    }

    async fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Begin(priority) => self.begin(priority),
            Step::Finish(which) if !self.permits.is_empty() => {
                let permit = self.permits.swap_remove(which.index(self.permits.len()));
                self.finish(permit);
                Ok(())
            }
            Step::Poll(which) if !self.turns.is_empty() => self.poll(which.index(self.turns.len())),
            Step::Drop(which) if !self.turns.is_empty() => {
                let dropped = self.turns.swap_remove(which.index(self.turns.len()));
                if self.model.leave(dropped.id).fate == Fate::Admitted {
                    self.model.finish();
                }
                Ok(())
            }
            Step::Advance(time) => {
                tokio::time::advance(Duration::from_millis(time)).await;
                self.model.now += i128::from(time);
                Ok(())
            }
            Step::Change(limit) => {
                self.handle.change(limit).unwrap();
                self.model.limit = i128::from(limit);
                self.model.serve();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, permit: Permit) {
        self.limit.finish(permit, &CallEnd::new(Outcome::Success));
        self.model.finish();
    }

    fn begin(&mut self, mut priority: Priority) -> Result<(), TestCaseError> {
        let id = self.next_id;
        self.next_id += 1;
        let expected = self.model.begin(id, priority);
        let protocol = Plain::new("test");
        match AsyncGuard::admit(&self.limit, &mut Call::new(&mut priority, &protocol)) {
            Ok(Admission::Now(permit)) => {
                prop_assert_eq!(expected, Some(true));
                self.permits.push(permit);
            }
            Ok(Admission::Later(turn)) => {
                prop_assert_eq!(expected, Some(false));
                self.turns.push(Waits {
                    id,
                    turn: Box::pin(turn),
                    wakes: Arc::default(),
                    polled: false,
                });
            }
            Err(rejection) => {
                prop_assert_eq!(expected, None);
                prop_assert_eq!(rejection.reason(), RejectionReason::Overloaded);
            }
        }
        Ok(())
    }

    fn poll(&mut self, at: usize) -> Result<(), TestCaseError> {
        let waits = &mut self.turns[at];
        let waker = Waker::from(waits.wakes.clone());
        let polled = waits.turn.as_mut().poll(&mut Context::from_waker(&waker));
        waits.polled = true;
        let model = *self
            .model
            .list
            .iter()
            .find(|waiter| waiter.id == waits.id)
            .unwrap();
        let is_over = model.expires <= self.model.now;
        match polled {
            Poll::Pending => {
                prop_assert!(model.fate == Fate::Waits && !is_over, "{:?}", model);
                return Ok(());
            }
            Poll::Ready(Ok(permit)) => {
                prop_assert!(model.fate == Fate::Admitted && !is_over, "{:?}", model);
                self.permits.push(permit);
                self.model.leave(model.id);
            }
            Poll::Ready(Err(_)) => {
                prop_assert!(model.fate == Fate::Rejected || is_over, "{:?}", model);
                self.model.leave(model.id);
                if model.fate == Fate::Admitted {
                    self.model.finish();
                }
            }
        }
        self.turns.swap_remove(at);
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (limit, model) = (&self.handle, &self.model);
        prop_assert_eq!(i128::from(limit.in_flight()), model.in_flight);
        prop_assert_eq!(limit.waiting() as usize, model.waiting());
        for waits in &self.turns {
            let waiter = model
                .list
                .iter()
                .find(|waiter| waiter.id == waits.id)
                .unwrap();
            let is_due = waiter.fate != Fate::Waits || waiter.expires <= model.now;
            let wakes = waits.wakes.0.load(Ordering::Relaxed);
            prop_assert!(wakes <= 2, "T-06");
            prop_assert_eq!(wakes > 0, is_due && waits.polled, "{:?}", waiter);
        }
        Ok(())
    }

    /// Ends all calls, and gives all others up: nothing is left.
    fn wind_up(mut self) -> Result<(), TestCaseError> {
        for permit in std::mem::take(&mut self.permits) {
            self.finish(permit);
            self.compare()?;
        }
        self.turns.clear();
        prop_assert_eq!((self.handle.in_flight(), self.handle.waiting()), (0, 0));
        Ok(())
    }
}
