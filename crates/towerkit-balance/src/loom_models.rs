//! Models for [loom](https://docs.rs/loom): all interleavings of a few threads with at most three preemptions.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    OutlierEjection,
    decay::{DecayingNumber, HalfLife},
    ejections::{EjectionState, Ejections},
    round_robin::{Counter, Modulus},
    snapshot_cell::SnapshotCell,
    sync as watched,
};

/// Checks a model with loads that count as writes and with loads that do not, see [`watched`].
fn model(run: impl Fn() + Copy + Sync + Send + 'static) {
    for loads_count_as_writes in [false, true] {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(3));
        watched::LOADS_COUNT_AS_WRITES.set(loads_count_as_writes);
        builder.check(run);
    }
}

/// A call that begins to wait while the set is replaced sees the new set or is woken.
#[test]
fn loom_no_replacement_of_the_snapshot_is_missed() {
    model(|| {
        let cell = Arc::new(SnapshotCell::new(0));
        let replacing = {
            let cell = cell.clone();
            thread::spawn(move || {
                assert_eq!(*cell.replace(1), 0);
            })
        };
        let mut replaced = pin!(cell.replaced());
        let seen = *cell.load();
        let mut cx = Context::from_waker(Waker::noop());
        let polled = replaced.as_mut().poll(&mut cx);
        replacing.join().unwrap();
        if seen == 0 && polled == Poll::Pending {
            assert!(
                replaced.as_mut().poll(&mut cx).is_ready(),
                "the wake-up was lost"
            );
        }
        assert_eq!(*cell.load(), 1);
    });
}

struct Instances {
    ejections: Ejections,
    states: [EjectionState; 2],
}

impl Instances {
    fn new() -> Arc<Self> {
        let instances = Self {
            ejections: Ejections::new(),
            states: [EjectionState::new(), EjectionState::new()],
        };
        (instances.ejections).set_members([].iter(), instances.states.iter());
        Arc::new(instances)
    }

    fn fail(&self, index: usize) -> bool {
        let rule = OutlierEjection::new().consecutive_failures(1).unwrap();
        let state = &self.states[index];
        (self.ejections).on_failure(state, state.count_failure(), &rule, 1, |_| {})
    }

    fn assert_exact(&self, members: &[usize]) {
        let ejected = members
            .iter()
            .filter(|index| self.states[**index].is_ejected());
        let expected = (members.len() as u32, ejected.count() as u32);
        assert_eq!(self.ejections.counts(), expected);
    }
}

/// Two instances fail at once: one of them stays.
#[test]
fn loom_the_last_instance_is_not_ejected() {
    model(|| {
        let instances = Instances::new();
        let other = {
            let instances = instances.clone();
            thread::spawn(move || instances.fail(1))
        };
        let ejected = [instances.fail(0), other.join().unwrap()];
        assert_eq!(ejected.iter().filter(|ejected| **ejected).count(), 1);
        instances.assert_exact(&[0, 1]);
    });
}

/// An ejection, its end, and a change of the set at once.
#[test]
fn loom_the_number_of_ejected_instances_is_exact() {
    model(|| {
        let instances = Instances::new();
        instances.ejections.eject(&instances.states[0], 5, || {});
        let restoring = {
            let instances = instances.clone();
            thread::spawn(move || {
                instances
                    .ejections
                    .restore(&instances.states[0], Some(5), || {});
                instances.fail(1);
            })
        };
        let (all, rest) = (&instances.states, &instances.states[1..]);
        instances.ejections.set_members(all.iter(), rest.iter());
        restoring.join().unwrap();
        instances.assert_exact(&[1]);
        instances.ejections.set_members(rest.iter(), all.iter());
        instances.assert_exact(&[0, 1]);
    });
}

/// Of two calls that find an ejection over, one ends it.
#[test]
fn loom_an_ejection_ends_once() {
    model(|| {
        let instances = Instances::new();
        instances.ejections.eject(&instances.states[0], 5, || {});
        let ends = Arc::new(AtomicUsize::new(0));
        let restore = |instances: &Instances, ends: &AtomicUsize| {
            instances
                .ejections
                .restore(&instances.states[0], Some(5), || {
                    ends.fetch_add(1, Ordering::Relaxed);
                })
        };
        let other = {
            let (instances, ends) = (instances.clone(), ends.clone());
            thread::spawn(move || restore(&instances, &ends))
        };
        let one = restore(&instances, &ends);
        assert!(one != other.join().unwrap());
        assert_eq!(ends.load(Ordering::Relaxed), 1);
        instances.assert_exact(&[0, 1]);
    });
}

/// No penalty is lost, also if a reader forgets one that is negligible at the same time.
#[test]
fn loom_no_penalty_is_lost() {
    model(|| {
        let half_life = HalfLife::of_time_constant(Duration::from_secs(1));
        let number = Arc::new(DecayingNumber::new());
        number.add(1.0, 0, half_life);
        let now = 100_000_000_000;
        let other = {
            let number = number.clone();
            thread::spawn(move || number.add(1.0, now, half_life))
        };
        number.at_or_forget(now, half_life);
        number.add(1.0, now, half_life);
        other.join().unwrap();
        let value = number.at(now, half_life).unwrap();
        assert!((value - 2.0).abs() < 0.01, "{value}");
    });
}

/// A peak counts, whichever sample comes last.
#[test]
fn loom_a_peak_is_kept() {
    model(|| {
        let half_life = HalfLife::of_time_constant(Duration::from_secs(10));
        let number = Arc::new(DecayingNumber::new());
        let other = {
            let number = number.clone();
            thread::spawn(move || number.include_peak(9.0, 1, half_life))
        };
        number.include_peak(1.0, 1, half_life);
        other.join().unwrap();
        assert!((number.at(1, half_life).unwrap() - 9.0).abs() < 0.01);
    });
}

/// LB-07: the counter is set back once.
#[test]
fn loom_turns_are_exact_where_the_counter_is_set_back() {
    model(|| {
        let counter = Arc::new(Counter::before_limit(1));
        let turns = |counter: &Counter| [(); 3].map(|()| counter.next(&Modulus::new(3)));
        let other = {
            let counter = counter.clone();
            thread::spawn(move || turns(&counter))
        };
        let mut counts = [0; 3];
        for turn in turns(&counter).into_iter().chain(other.join().unwrap()) {
            counts[turn] += 1;
        }
        assert_eq!(counts, [2; 3]);
    });
}
