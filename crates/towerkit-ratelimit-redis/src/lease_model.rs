//! A model of processes that lease tokens of one bucket, driven by generated steps.

use std::future::ready;

use futures_util::FutureExt;
use proptest::prelude::*;
use towerkit_ratelimit::Quota;

use crate::{
    key_slot::{KeySlot, LeaseAnswer},
    lease::{LeaseLimits, SpendResult},
    memory_store::Bucket,
    script_quota::ScriptQuota,
    store::Grant,
};

const MILLI: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    /// A call in a process, which requests a lease if it has few tokens.
    Call(usize),
    /// The answer to the request of a process arrives.
    Answer(usize),
    /// A call that requests a token for itself and gets the answer at once.
    OwnToken,
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
        6 => (0..3usize).prop_map(Step::Answer),
        1 => Just(Step::OwnToken),
    ];
    prop::collection::vec(step, 1..60)
}

struct Process {
    slot: KeySlot,
    in_flight: Option<Grant>,
}

struct Model {
    now: u64,
    bucket: Bucket,
    quota: ScriptQuota,
    limits: LeaseLimits,
    processes: Vec<Process>,
    /// The times at which calls were admitted.
    admitted: Vec<i128>,
}

impl Model {
    fn new(quota: Quota, size: u32, time: u64) -> Self {
        let limits = LeaseLimits {
            time,
            size,
            timeout: 100 * MILLI,
        };
        let process = |_| Process {
            slot: KeySlot::default(),
            in_flight: None,
        };
        Self {
            now: 1_000_000 * MILLI,
            bucket: Bucket::default(),
            quota: ScriptQuota::of(&quota).unwrap(),
            limits,
            processes: (0..3).map(process).collect(),
            admitted: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Advance(by) => self.now += by,
            Step::Call(process) => self.call(*process),
            Step::Answer(process) => self.answer(*process),
            Step::OwnToken => {
                let grant = self.bucket.take(self.now.into(), self.quota, 1);
                self.admit(grant.tokens > 0);
            }
        }
        for process in &self.processes {
            assert!(process.slot.held(self.now) <= self.limits.size);
        }
    }

    fn call(&mut self, process: usize) {
        let Process { slot, in_flight } = &mut self.processes[process];
        let spent = slot.spend(self.now, || true);
        if spent != SpendResult::Spent && in_flight.is_none() && slot.denied_until() <= self.now {
            let mut refill = slot.refill();
            let wanted = slot.wanted(&mut refill, self.now, self.limits);
            if wanted > 0 {
                let grant = self.bucket.take(self.now.into(), self.quota, wanted);
                refill.start(self.now, 1, wanted, self.limits, answer_of(grant));
                *in_flight = Some(grant);
            }
        }
        self.admit(spent != SpendResult::Empty);
    }

    fn answer(&mut self, process: usize) {
        let Process { slot, in_flight } = &mut self.processes[process];
        if let Some(grant) = in_flight.take() {
            let mut refill = slot.refill();
            let request = refill.take_request(1).expect("it is in flight");
            slot.add_grant(&mut refill, &request, grant, self.now, self.limits);
        }
    }

    fn admit(&mut self, admitted: bool) {
        if admitted {
            self.admitted.push(self.now.into());
        }
    }

    /// Returns the largest excess of admitted calls over `beyond` and the rate, over all windows extended by `grace` nanoseconds.
    ///
    /// The unit is a token times the period.
    fn largest_excess(&self, quota: Quota, beyond: u32, grace: u64) -> i128 {
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

fn answer_of(grant: Grant) -> LeaseAnswer {
    LeaseAnswer::new(ready(Ok(grant)).boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-01, over processes: both bounds that the crate documents hold in every window.
    #[test]
    fn no_window_admits_more_than_burst_plus_rate_plus_leases(
        (count, burst, size) in (1..200u32, 1..40u32, 1..20u32),
        time in prop_oneof![Just(50 * MILLI), Just(1000 * MILLI)],
        steps in steps(),
    ) {
        let quota = Quota::per_second(count).unwrap().burst(burst).unwrap();
        let mut model = Model::new(quota, size.min(burst), time);
        for step in &steps {
            model.step(step);
        }
        prop_assert!(model.largest_excess(quota, burst + 3 * size.min(burst), 0) <= 0);
        prop_assert!(model.largest_excess(quota, burst, time) <= 0);
    }
}

/// The bound is tight: leases that are spent when the bucket is full again reach it.
#[test]
fn leases_that_are_spent_late_reach_the_bound() {
    let quota = Quota::per_second(10).unwrap();
    let mut model = Model::new(quota, 3, 10_000 * MILLI);
    for process in 0..3 {
        let grant = model.bucket.take(model.now.into(), model.quota, 3);
        let Process { slot, in_flight } = &mut model.processes[process];
        slot.refill()
            .start(model.now, 1, 3, model.limits, answer_of(grant));
        *in_flight = Some(grant);
        model.answer(process);
    }
    model.now += 1000 * MILLI;
    (0..9).for_each(|call| model.step(&Step::Call(call % 3)));
    (0..10).for_each(|_| model.step(&Step::OwnToken));
    assert_eq!(model.admitted.len(), 19);
    assert_eq!(model.largest_excess(quota, 19, 0), 0);
    assert!(model.largest_excess(quota, 18, 0) > 0);
}
