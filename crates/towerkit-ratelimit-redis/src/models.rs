//! Processes that lease from one bucket, in every order that a generator finds.

use std::future::ready;

use futures_util::FutureExt;
use proptest::prelude::*;
use towerkit_ratelimit::Quota;

use crate::{
    common::Common,
    lease::Spent,
    measure::Measure,
    memory::Bucket,
    place::{Place, Terms},
    store::Grant,
};

const MILLI: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    /// A call in a process, which asks for a lease if it has to.
    Call(usize),
    /// The answer to a process arrives, or a part of it: calls go on before.
    Land(usize),
    /// A call that gets a token of its own, whose answer is there at once.
    Alone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        Just(0),
        1..2 * MILLI,
        Just(1),
        Just(40 * MILLI),
        Just(100 * MILLI),
        MILLI..3000 * MILLI
    ];
    let step = prop_oneof![
        3 => advance.prop_map(Step::Advance),
        12 => (0..3usize).prop_map(Step::Call),
        6 => (0..3usize).prop_map(Step::Land),
        1 => Just(Step::Alone),
    ];
    prop::collection::vec(step, 1..60)
}

struct Process {
    place: Place,
    flying: Option<Grant>,
}

struct World {
    now: u64,
    bucket: Bucket,
    measure: Measure,
    terms: Terms,
    processes: Vec<Process>,
    /// When calls were admitted.
    admitted: Vec<i128>,
}

impl World {
    fn new(quota: Quota, most: u32, time: u64) -> Self {
        let terms = Terms {
            time,
            most,
            timeout: 100 * MILLI,
        };
        let process = |_| Process {
            place: Place::new(),
            flying: None,
        };
        Self {
            now: 1_000_000 * MILLI,
            bucket: Bucket::default(),
            measure: Measure::of(&quota).unwrap(),
            terms,
            processes: (0..3).map(process).collect(),
            admitted: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Advance(by) => self.now += by,
            Step::Call(process) => self.call(*process),
            Step::Land(process) => self.land(*process),
            Step::Alone => {
                let grant = self.bucket.take(self.now.into(), self.measure, 1);
                self.admit(grant.tokens > 0);
            }
        }
        for process in &self.processes {
            assert!(process.place.held(self.now) <= self.terms.most);
        }
    }

    fn call(&mut self, process: usize) {
        let Process { place, flying } = &mut self.processes[process];
        let spent = place.spend(self.now, || true);
        if spent != Spent::Token && flying.is_none() && place.denied_until() <= self.now {
            let mut desk = place.desk();
            let wanted = place.wanted(&mut desk, self.now, self.terms);
            if wanted > 0 {
                let grant = self.bucket.take(self.now.into(), self.measure, wanted);
                let answer = Common::new(ready(Ok(grant)).boxed());
                desk.depart(self.now, 1, wanted, answer);
                *flying = Some(grant);
            }
        }
        self.admit(spent != Spent::Nothing);
    }

    fn land(&mut self, process: usize) {
        let Process { place, flying } = &mut self.processes[process];
        if let Some(grant) = flying.take() {
            let mut desk = place.desk();
            let flight = desk.take(None).expect("it flies");
            place.land(&mut desk, &flight, grant, self.now, self.terms);
        }
    }

    fn admit(&mut self, admitted: bool) {
        if admitted {
            self.admitted.push(self.now.into());
        }
    }

    /// The most that a window admitted beyond what flows in while it lasts and for `grace` nanoseconds more, in tokens times period.
    fn worst(&self, quota: Quota, beyond: u32, grace: u64) -> i128 {
        let (count, period) = (i128::from(quota.count()), quota.period().as_nanos() as i128);
        let mut worst = i128::MIN;
        for (first, start) in self.admitted.iter().enumerate() {
            for (last, end) in self.admitted.iter().enumerate().skip(first) {
                let calls = (last - first + 1) as i128 - i128::from(beyond);
                worst = worst.max(calls * period - (end - start + i128::from(grace)) * count);
            }
        }
        worst
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-01, over processes: both bounds of the crate's docs, over every window.
    #[test]
    fn no_window_admits_more_than_burst_plus_rate_plus_leases(
        (count, burst, most) in (1..200u32, 1..40u32, 1..20u32),
        time in prop_oneof![Just(50 * MILLI), Just(1000 * MILLI)],
        steps in steps(),
    ) {
        let quota = Quota::per_second(count).unwrap().burst(burst).unwrap();
        let mut world = World::new(quota, most.min(burst), time);
        for step in &steps {
            world.step(step);
        }
        prop_assert!(world.worst(quota, burst + 3 * most.min(burst), 0) <= 0);
        prop_assert!(world.worst(quota, burst, time) <= 0);
    }
}

/// The bound is not wider than it has to be: leases that are spent when the bucket is full again crowd a window.
#[test]
fn leases_spent_late_crowd_a_window_by_their_size() {
    let quota = Quota::per_second(10).unwrap();
    let mut world = World::new(quota, 3, 10_000 * MILLI);
    for process in 0..3 {
        let grant = world.bucket.take(world.now.into(), world.measure, 3);
        let answer = Common::new(ready(Ok(grant)).boxed());
        let Process { place, flying } = &mut world.processes[process];
        place.desk().depart(world.now, 1, 3, answer);
        *flying = Some(grant);
        world.land(process);
    }
    world.now += 1000 * MILLI;
    (0..9).for_each(|call| world.step(&Step::Call(call % 3)));
    (0..10).for_each(|_| world.step(&Step::Alone));
    assert_eq!(world.admitted.len(), 19);
    assert_eq!(world.worst(quota, 19, 0), 0);
    assert!(world.worst(quota, 18, 0) > 0);
}
