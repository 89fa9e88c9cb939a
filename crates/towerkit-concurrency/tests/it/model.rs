//! Compares random operations on a queued limit with a model that keeps one list and shares no code with it.

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
    AcquireFuture, ConcurrencyLimitHandle, ConcurrencyLimitLayer, ConcurrencyLimitPolicy, Permit,
    Priority, PriorityClass, PriorityClasses, PriorityFn, Queue,
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

    /// LS-01, LS-04, LS-12: the order, the wait time, the size and the priorities of a queue.
    #[test]
    fn the_queue_agrees_with_the_model(
        options in options(),
        steps in prop::collection::vec(step(), 1..32),
    ) {
        RUNTIME.with(|runtime| runtime.block_on(async {
            let mut both = Both::new(options);
            for step in steps {
                both.run(step).await?;
                both.compare()?;
            }
            both.end_all()
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
    max_wait: i128,
    newest_first: Option<i128>,
    overload: Option<(i128, i128)>,
}

fn options() -> impl Strategy<Value = Options> {
    let overload = prop::option::of((1..=5_i128, 1..=9_i128));
    let newest_first = prop::option::of(1..=9_i128);
    (1..=5_i128, 1..=4_usize, 5..=12_i128, newest_first, overload).prop_map(
        |(limit, size, max_wait, newest_first, overload)| Options {
            limit,
            size,
            max_wait,
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
    SetLimit(u32),
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
        1 => (1..7_u32).prop_map(Step::SetLimit),
    ]
}

/// The state of a call in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CallState {
    Waits,
    Admitted,
    Rejected,
}

/// A call of the model that had to wait.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    id: usize,
    priority: Priority,
    expires: i128,
    state: CallState,
}

/// A list of calls in order of arrival. Times are in milliseconds.
struct Model {
    options: Options,
    limit: i128,
    in_flight: i128,
    now: i128,
    nonempty_since: i128,
    list: Vec<Waiter>,
}

impl Model {
    fn of(&self, priority: Priority) -> impl DoubleEndedIterator<Item = &Waiter> {
        let waits =
            move |waiter: &&Waiter| waiter.state == CallState::Waits && waiter.priority == priority;
        self.list.iter().filter(waits)
    }

    fn waiting(&self) -> usize {
        self.list
            .iter()
            .filter(|waiter| waiter.state == CallState::Waits)
            .count()
    }

    fn has_permit(&self, priority: Priority) -> bool {
        let tenths = match priority {
            Priority::Critical => 10,
            Priority::Normal => 9,
            _ => 5,
        };
        self.in_flight < (self.limit * tenths / 10).max(1)
    }

    fn was_nonempty_for(&self, time: i128) -> bool {
        self.waiting() > 0 && self.now - self.nonempty_since >= time
    }

    fn newest_first(&self) -> bool {
        self.options
            .newest_first
            .is_some_and(|time| self.was_nonempty_for(time))
    }

    /// Returns true if the call is admitted at once, false if it waits, and [`None`] if it is rejected.
    fn begin(&mut self, id: usize, priority: Priority) -> Option<bool> {
        if self.waiting() == 0 && self.has_permit(priority) {
            self.in_flight += 1;
            return Some(true);
        }
        let age = match self.options.overload {
            Some((age, time)) if self.was_nonempty_for(time) => age,
            _ => self.options.max_wait,
        };
        if self.waiting() == 0 {
            self.nonempty_since = self.now;
        }
        if self.waiting() == self.options.size {
            let last = self.served_last(priority)?;
            self.resolve(last, CallState::Rejected);
        }
        self.list.push(Waiter {
            id,
            priority,
            expires: self.now + age,
            state: CallState::Waits,
        });
        self.serve();
        match self.list.last().map(|waiter| waiter.state) {
            Some(CallState::Waits) => Some(false),
            Some(CallState::Admitted) => self.list.pop().map(|_| true),
            _ => {
                self.list.pop();
                None
            }
        }
    }

    fn served_last(&self, priority_of_new: Priority) -> Option<usize> {
        let newest_first = self.newest_first();
        for priority in [Priority::Sheddable, Priority::Normal, Priority::Critical] {
            let mut lane = self.of(priority);
            if priority > priority_of_new {
                let last = if newest_first {
                    lane.next()
                } else {
                    lane.next_back()
                };
                if let Some(last) = last {
                    return Some(last.id);
                }
            } else if priority == priority_of_new && newest_first {
                return lane.next().map(|waiter| waiter.id);
            }
        }
        None
    }

    fn resolve(&mut self, id: usize, state: CallState) {
        let waiter = self.list.iter_mut().find(|waiter| waiter.id == id).unwrap();
        waiter.state = state;
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
                    self.resolve(id, CallState::Rejected);
                    continue 'again;
                }
                if self.has_permit(priority) {
                    self.in_flight += 1;
                    self.resolve(id, CallState::Admitted);
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

    /// Removes a call from the list.
    fn leave(&mut self, id: usize) -> Waiter {
        let at = self.list.iter().position(|waiter| waiter.id == id).unwrap();
        self.list.remove(at)
    }
}

type ClassifyCall = fn(&Call<'_, Priority>) -> PriorityClass;

struct Both {
    limit: ConcurrencyLimitPolicy<PriorityFn<ClassifyCall>>,
    handle: ConcurrencyLimitHandle,
    model: Model,
    permits: Vec<Permit>,
    waiting_calls: Vec<WaitingCall>,
    next_id: usize,
}

struct WaitingCall {
    id: usize,
    future: Pin<Box<AcquireFuture>>,
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
        let mut queue = Queue::new(options.size as u32, ms(options.max_wait)).unwrap();
        if let Some(time) = options.newest_first {
            queue = queue.newest_first_after(ms(time)).unwrap();
        }
        if let Some((age, time)) = options.overload {
            queue = queue.max_wait_under_overload(ms(age), ms(time)).unwrap();
        }
        let classify: ClassifyCall = |call| (*call.request).into();
        let layer = ConcurrencyLimitLayer::new(options.limit as u32)
            .unwrap()
            .clock(tokio_clock())
            .classes(PriorityClasses::new(), classify)
            .queue(queue);
        Self {
            handle: layer.handle(),
            limit: layer.into_policy().get().clone(),
            model: Model {
                options,
                limit: options.limit,
                in_flight: 0,
                now: 0,
                nonempty_since: 0,
                list: Vec::new(),
            },
            permits: Vec::new(),
            waiting_calls: Vec::new(),
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
            Step::Poll(which) if !self.waiting_calls.is_empty() => {
                self.poll(which.index(self.waiting_calls.len()))
            }
            Step::Drop(which) if !self.waiting_calls.is_empty() => {
                let dropped = self
                    .waiting_calls
                    .swap_remove(which.index(self.waiting_calls.len()));
                if self.model.leave(dropped.id).state == CallState::Admitted {
                    self.model.finish();
                }
                Ok(())
            }
            Step::Advance(time) => {
                tokio::time::advance(Duration::from_millis(time)).await;
                self.model.now += i128::from(time);
                Ok(())
            }
            Step::SetLimit(limit) => {
                self.handle.set_limit(limit).unwrap();
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
            Ok(Admission::Later(future)) => {
                prop_assert_eq!(expected, Some(false));
                self.waiting_calls.push(WaitingCall {
                    id,
                    future: Box::pin(future),
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
        let waiting_call = &mut self.waiting_calls[at];
        let waker = Waker::from(waiting_call.wakes.clone());
        let polled = waiting_call
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker));
        waiting_call.polled = true;
        let model = *self
            .model
            .list
            .iter()
            .find(|waiter| waiter.id == waiting_call.id)
            .unwrap();
        let is_over = model.expires <= self.model.now;
        match polled {
            Poll::Pending => {
                prop_assert!(model.state == CallState::Waits && !is_over, "{:?}", model);
                return Ok(());
            }
            Poll::Ready(Ok(permit)) => {
                prop_assert!(
                    model.state == CallState::Admitted && !is_over,
                    "{:?}",
                    model
                );
                self.permits.push(permit);
                self.model.leave(model.id);
            }
            Poll::Ready(Err(_)) => {
                prop_assert!(model.state == CallState::Rejected || is_over, "{:?}", model);
                self.model.leave(model.id);
                if model.state == CallState::Admitted {
                    self.model.finish();
                }
            }
        }
        self.waiting_calls.swap_remove(at);
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (limit, model) = (&self.handle, &self.model);
        let snapshot = limit.snapshot();
        prop_assert_eq!(i128::from(snapshot.in_flight), model.in_flight);
        prop_assert_eq!(snapshot.waiting as usize, model.waiting());
        for waiting_call in &self.waiting_calls {
            let waiter = model
                .list
                .iter()
                .find(|waiter| waiter.id == waiting_call.id)
                .unwrap();
            let is_due = waiter.state != CallState::Waits || waiter.expires <= model.now;
            let wakes = waiting_call.wakes.0.load(Ordering::Relaxed);
            prop_assert!(wakes <= 2, "T-06");
            prop_assert_eq!(wakes > 0, is_due && waiting_call.polled, "{:?}", waiter);
        }
        Ok(())
    }

    /// Ends all calls in flight, and cancels the others.
    fn end_all(mut self) -> Result<(), TestCaseError> {
        for permit in std::mem::take(&mut self.permits) {
            self.finish(permit);
            self.compare()?;
        }
        self.waiting_calls.clear();
        let snapshot = self.handle.snapshot();
        prop_assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
        Ok(())
    }
}
