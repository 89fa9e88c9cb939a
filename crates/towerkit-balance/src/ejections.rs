use crate::{
    OutlierEjection,
    sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock},
};

/// The number of ejected instances among those that get calls.
///
/// Ejections and changes of the set take the lock, so that the number is exact and the last instance is never ejected by mistake. Calls
/// only read.
#[derive(Debug)]
pub(crate) struct Ejections {
    lock: Mutex<()>,
    members: AtomicU32,
    ejected: AtomicU32,
}

/// The state of one instance. Relaxed loads and stores are enough: each value stands for itself, and the lock orders the writes.
#[derive(Debug)]
pub(crate) struct EjectionState {
    /// The time at which the ejection ends; 0 if the instance is not ejected.
    until: AtomicU64,
    /// The failures in a row in the lower half, the ejections in a row in the upper half. 0 while all is well.
    streaks: AtomicU64,
    /// 1 if the instance is counted.
    is_member: AtomicU32,
}

const EJECTION: u64 = 1 << 32;

impl Ejections {
    pub(crate) fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            members: AtomicU32::new(0),
            ejected: AtomicU32::new(0),
        }
    }

    /// Returns true if more than half of the instances are ejected, so that no ejection counts.
    pub(crate) fn is_panicking(&self) -> bool {
        let ejected = self.ejected.load(Ordering::Relaxed);
        ejected * 2 > self.members.load(Ordering::Relaxed)
    }

    /// Counts other instances from now on.
    pub(crate) fn set_members<'a>(
        &self,
        old: impl Iterator<Item = &'a EjectionState>,
        new: impl Iterator<Item = &'a EjectionState>,
    ) {
        let _lock = lock(&self.lock);
        old.for_each(|state| state.is_member.store(0, Ordering::Relaxed));
        let (mut members, mut ejected) = (0, 0);
        for state in new {
            state.is_member.store(1, Ordering::Relaxed);
            members += 1;
            ejected += u32::from(state.is_ejected());
        }
        self.members.store(members, Ordering::Relaxed);
        self.ejected.store(ejected, Ordering::Relaxed);
    }

    /// Ejects an instance with these streaks of failures and ejections if the rule says so. `on_ejection` gets the time in nanoseconds,
    /// under the lock.
    pub(crate) fn on_failure(
        &self,
        state: &EjectionState,
        streaks: u64,
        rule: &OutlierEjection,
        now: u64,
        on_ejection: impl FnOnce(u64),
    ) -> bool {
        if (streaks as u32) < rule.consecutive_failures || state.is_ejected() {
            return false;
        }
        let _lock = lock(&self.lock);
        let is_allowed =
            self.ejected.load(Ordering::Relaxed) < rule.limit(self.members.load(Ordering::Relaxed));
        if !is_allowed || state.is_member.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let time = rule.time_after((streaks >> 32) as u32).as_nanos() as u64;
        if !self.eject_locked(state, now.saturating_add(time)) {
            return false;
        }
        state.streaks.fetch_add(EJECTION, Ordering::Relaxed);
        on_ejection(time);
        true
    }

    /// Ejects an instance whatever the rule says. Returns false if it is ejected already, until at least this time from now on.
    pub(crate) fn eject(
        &self,
        state: &EjectionState,
        until: u64,
        on_ejection: impl FnOnce(),
    ) -> bool {
        let _lock = lock(&self.lock);
        let is_ejected = self.eject_locked(state, until);
        if is_ejected {
            on_ejection();
        } else {
            state.until.fetch_max(until, Ordering::Relaxed);
        }
        is_ejected
    }

    fn eject_locked(&self, state: &EjectionState, until: u64) -> bool {
        if state.is_ejected() {
            return false;
        }
        state.until.store(until.max(1), Ordering::Relaxed);
        self.count(state, 1);
        true
    }

    /// Ends an ejection. With `until`, only the one that ends at this time. Returns false if there is none.
    pub(crate) fn restore(
        &self,
        state: &EjectionState,
        until: Option<u64>,
        on_restoration: impl FnOnce(),
    ) -> bool {
        let _lock = lock(&self.lock);
        let current = state.until.load(Ordering::Relaxed);
        if current == 0 || until.is_some_and(|until| until != current) {
            return false;
        }
        state.until.store(0, Ordering::Relaxed);
        self.count(state, -1);
        on_restoration();
        true
    }

    fn count(&self, state: &EjectionState, change: i32) {
        if state.is_member.load(Ordering::Relaxed) != 0 {
            let ejected = self.ejected.load(Ordering::Relaxed);
            self.ejected
                .store(ejected.wrapping_add_signed(change), Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> (u32, u32) {
        let _lock = lock(&self.lock);
        (
            self.members.load(Ordering::Relaxed),
            self.ejected.load(Ordering::Relaxed),
        )
    }
}

impl EjectionState {
    pub(crate) fn new() -> Self {
        Self {
            until: AtomicU64::new(0),
            streaks: AtomicU64::new(0),
            is_member: AtomicU32::new(0),
        }
    }

    /// Returns true if the instance is ejected, or was and nobody has looked since.
    #[inline(always)]
    pub(crate) fn is_ejected(&self) -> bool {
        self.until() != 0
    }

    /// Returns the time at which the ejection ends; 0 if the instance is not ejected.
    #[inline(always)]
    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Returns true if the last call has failed, or the instance is on trial.
    #[inline(always)]
    pub(crate) fn has_streak(&self) -> bool {
        self.streaks.load(Ordering::Relaxed) != 0
    }

    /// Counts a failure, and returns the streaks.
    pub(crate) fn count_failure(&self) -> u64 {
        self.streaks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the number of failures in a row.
    pub(crate) fn consecutive_failures(&self) -> u32 {
        self.streaks.load(Ordering::Relaxed) as u32
    }

    /// Begins all streaks anew, after a success.
    #[cold]
    pub(crate) fn reset_streaks(&self) {
        self.streaks.store(0, Ordering::Relaxed);
    }

    /// Lets the next failure eject the instance again.
    pub(crate) fn begin_trial(&self, rule: &OutlierEjection) {
        let failures = u64::from(rule.consecutive_failures - 1);
        let ejections = self.streaks.load(Ordering::Relaxed) / EJECTION * EJECTION;
        self.streaks.store(ejections | failures, Ordering::Relaxed);
    }

    /// Continues the state of an instance whose service is made anew.
    pub(crate) fn copy_from(&self, other: &Self) {
        let relaxed = Ordering::Relaxed;
        self.until.store(other.until.load(relaxed), relaxed);
        self.streaks.store(other.streaks.load(relaxed), relaxed);
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Fail(usize),
        Succeed(usize),
        Eject(usize),
        Restore(usize),
        SetMembers(Vec<bool>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = 0..6usize;
        prop_oneof![
            4 => index.clone().prop_map(Step::Fail),
            1 => index.clone().prop_map(Step::Succeed),
            1 => index.clone().prop_map(Step::Eject),
            1 => index.prop_map(Step::Restore),
            1 => prop::collection::vec(any::<bool>(), 6).prop_map(Step::SetMembers),
        ]
    }

    proptest! {
        /// LB-05
        #[test]
        fn the_counts_are_exact_and_a_rule_never_ejects_the_last_instance(
            steps in prop::collection::vec(step(), 1..200),
            ratio in 0.0..1.0,
        ) {
            let rule = OutlierEjection::new().consecutive_failures(2).unwrap().max_ratio(ratio).unwrap();
            let ejections = Ejections::new();
            let states: Vec<_> = (0..6).map(|_| EjectionState::new()).collect();
            ejections.set_members([].iter(), states.iter());
            let mut is_member = vec![true; 6];
            let mut failures = [0; 6];
            for step in steps {
                let (_, ejected_before) = ejections.counts();
                match step {
                    Step::Fail(index) => {
                        failures[index] += 1;
                        let was_ejected = states[index].is_ejected();
                        let is_ejected = ejections.on_failure(&states[index], states[index].count_failure(), &rule, 7, |_| {});
                        prop_assert!(!is_ejected || failures[index] >= 2 && is_member[index] && !was_ejected);
                        let (members, ejected) = ejections.counts();
                        prop_assert!(!is_ejected || ejected <= rule.limit(members) && ejected < members);
                    }
                    Step::Succeed(index) => {
                        failures[index] = 0;
                        states[index].reset_streaks();
                    }
                    Step::Eject(index) => {
                        ejections.eject(&states[index], 9, || {});
                    }
                    Step::Restore(index) => {
                        if ejections.restore(&states[index], None, || {}) {
                            states[index].begin_trial(&rule);
                            failures[index] = 1;
                        }
                    }
                    Step::SetMembers(chosen) => {
                        let members = |is_member: &[bool]| {
                            states.iter().zip(is_member.to_vec()).filter(|(_, is_member)| *is_member).map(|(state, _)| state).collect::<Vec<_>>()
                        };
                        ejections.set_members(members(&is_member).into_iter(), members(&chosen).into_iter());
                        is_member = chosen;
                    }
                }
                let counted = |is_counted: &dyn Fn(usize) -> bool| (0..6).filter(|index| is_member[*index] && is_counted(*index)).count() as u32;
                let expected = (counted(&|_| true), counted(&|index| states[index].is_ejected()));
                prop_assert_eq!(ejections.counts(), expected);
                let _ = ejected_before;
            }
        }
    }

    #[test]
    fn each_ejection_in_a_row_is_longer() {
        let rule = OutlierEjection::new().consecutive_failures(1).unwrap();
        let ejections = Ejections::new();
        let states = [EjectionState::new(), EjectionState::new()];
        ejections.set_members([].iter(), states.iter());
        let mut times = Vec::new();
        for _ in 0..5 {
            ejections.on_failure(&states[0], states[0].count_failure(), &rule, 0, |time| {
                times.push(time / 1_000_000_000);
            });
            assert!(ejections.restore(&states[0], Some(states[0].until()), || {}));
            states[0].begin_trial(&rule);
        }
        assert_eq!(times, [30, 60, 120, 240, 300]);
        states[0].reset_streaks();
        ejections.on_failure(&states[0], states[0].count_failure(), &rule, 0, |time| {
            times.push(time / 1_000_000_000);
        });
        assert_eq!(times.last(), Some(&30));
    }
}
