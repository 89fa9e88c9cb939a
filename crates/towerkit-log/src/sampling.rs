use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use towerkit_core::{CallEnd, Outcome};

use crate::window::Window;

/// Which calls a [`LogLayer`](crate::LogLayer) leaves out: by default none.
///
/// | end of the call | logged |
/// |---|---|
/// | success | one of N ([`successes`](Self::successes)) |
/// | rejected, by this or another layer, or overloaded | a number each second ([`rejections`](Self::rejections)) |
/// | any other, a panic among them | always |
///
/// Once a second at most, together with the next call that ends, an event says how many were left out: its message is `calls left out`,
/// its fields are `name`, `left_out` and, if there are any, how many of these were `rejected`; then its level is warn, else info. [`LogSnapshot::left_out`](crate::LogSnapshot::left_out) counts them as well.
///
/// ```
/// use std::num::NonZeroU32;
/// use towerkit_log::{LogLayer, Sampling};
///
/// let hundredth = NonZeroU32::new(100).ok_or("zero")?;
/// let layer = LogLayer::new().sampling(Sampling::new().successes(hundredth).rejections(10));
/// let handle = layer.handle();
/// // Later, while it runs:
/// handle.set_sampling(Sampling::new());
/// # Ok::<_, &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    one_of: u32,
    rejections: u32,
}

impl Sampling {
    /// Leaves nothing out.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            one_of: 1,
            rejections: u32::MAX,
        }
    }

    /// Logs one of so many successes, the first among them; all by default.
    #[must_use]
    pub const fn successes(mut self, one_of: NonZeroU32) -> Self {
        self.one_of = one_of.get();
        self
    }

    /// Logs at most so many calls a second that were rejected, or ended as overloaded; all by default.
    #[must_use]
    pub const fn rejections(mut self, per_second: u32) -> Self {
        self.rejections = per_second;
        self
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::new()
    }
}

/// Chooses the calls that are logged, and counts the others.
#[derive(Debug)]
pub(crate) struct Sampler {
    one_of: AtomicU32,
    rejections: AtomicU32,
    successes: AtomicU64,
    rejected: Window,
    left_out: AtomicU64,
    /// Of the successes that were left out, those of which nothing has been said.
    unsaid: AtomicU64,
    /// Of the rejected calls.
    unsaid_rejected: AtomicU64,
    reports: Window,
}

/// How many calls were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) successes: u64,
    pub(crate) rejected: u64,
}

/// What matters of a call here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Success,
    Rejected,
    Other,
}

impl Kind {
    pub(crate) fn of(end: &CallEnd) -> Self {
        match end.outcome() {
            _ if end.rejection_reason().is_some() => Self::Rejected,
            Outcome::Success => Self::Success,
            Outcome::Overloaded => Self::Rejected,
            _ => Self::Other,
        }
    }
}

/// Every word is by itself, and none is read as a promise about another: hence every ordering is relaxed.
impl Sampler {
    pub(crate) const fn new() -> Self {
        Self {
            one_of: AtomicU32::new(1),
            rejections: AtomicU32::new(u32::MAX),
            successes: AtomicU64::new(0),
            rejected: Window::new(),
            left_out: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
            unsaid_rejected: AtomicU64::new(0),
            reports: Window::new(),
        }
    }

    pub(crate) fn change(&self, sampling: Sampling) {
        self.one_of.store(sampling.one_of, Ordering::Relaxed);
        self.rejections
            .store(sampling.rejections, Ordering::Relaxed);
    }

    pub(crate) fn sampling(&self) -> Sampling {
        Sampling {
            one_of: self.one_of.load(Ordering::Relaxed),
            rejections: self.rejections.load(Ordering::Relaxed),
        }
    }

    /// Returns whether a call that ended at `now` is logged; if not, it is counted.
    pub(crate) fn takes(&self, kind: Kind, now: u64) -> bool {
        let (takes, unsaid) = match kind {
            Kind::Success => (self.takes_success(), &self.unsaid),
            Kind::Rejected => (self.takes_rejected(now), &self.unsaid_rejected),
            Kind::Other => return true,
        };
        if !takes {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            unsaid.fetch_add(1, Ordering::Relaxed);
        }
        takes
    }

    fn takes_success(&self) -> bool {
        let one_of = self.one_of.load(Ordering::Relaxed);
        // Where all are logged, nothing is shared between threads.
        one_of == 1 || {
            let before = self.successes.fetch_add(1, Ordering::Relaxed);
            before.is_multiple_of(u64::from(one_of))
        }
    }

    fn takes_rejected(&self, now: u64) -> bool {
        let rejections = self.rejections.load(Ordering::Relaxed);
        rejections == u32::MAX || self.rejected.admit(now, rejections)
    }

    /// Returns how many were left out since the last report, if any, and if there was none yet in this second.
    pub(crate) fn report(&self, now: u64) -> Option<Report> {
        let counts = [&self.unsaid, &self.unsaid_rejected];
        let is_nothing = |count: &&AtomicU64| count.load(Ordering::Relaxed) == 0;
        if counts.iter().all(is_nothing) || !self.reports.admit(now, 1) {
            return None;
        }
        let [successes, rejected] = counts.map(|count| count.swap(0, Ordering::Relaxed));
        (successes + rejected > 0).then_some(Report {
            successes,
            rejected,
        })
    }

    /// Returns how many were ever left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use towerkit_core::RejectionReason;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Call(Kind),
        Report,
        After(u64),
        Change(u32, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Call(Kind::Success)),
            3 => Just(Step::Call(Kind::Rejected)),
            1 => Just(Step::Call(Kind::Other)),
            2 => Just(Step::Report),
            2 => (0..SECOND).prop_map(Step::After),
            1 => (1..5_u32, prop_oneof![Just(u32::MAX), 0..4_u32]).prop_map(|(one_of, most)| Step::Change(one_of, most)),
        ];
        prop::collection::vec(step, 1..40)
    }

    /// All that ever happened, as lists.
    #[derive(Default)]
    struct Model {
        /// Successes that were counted, which those are not that came while all were logged.
        counted: u32,
        /// The seconds of rejected calls that were logged while there was a cap.
        rejected: Vec<u64>,
        /// Successes and rejected calls that were left out, ever and up to the last report.
        left_out: [u64; 2],
        said: [u64; 2],
        reports: Vec<u64>,
    }

    impl Model {
        fn takes(&mut self, kind: Kind, second: u64, (one_of, most): (u32, u32)) -> bool {
            let takes = match kind {
                Kind::Other => true,
                Kind::Success if one_of == 1 => true,
                Kind::Rejected if most == u32::MAX => true,
                Kind::Success => {
                    self.counted += 1;
                    (self.counted - 1).is_multiple_of(one_of)
                }
                Kind::Rejected => {
                    let in_second = self
                        .rejected
                        .iter()
                        .filter(|other| **other == second)
                        .count();
                    let takes = in_second < most as usize;
                    if takes {
                        self.rejected.push(second);
                    }
                    takes
                }
            };
            self.left_out[usize::from(kind == Kind::Rejected)] += u64::from(!takes);
            takes
        }

        fn report(&mut self, second: u64) -> Option<Report> {
            let [successes, rejected] = [0, 1].map(|kind| self.left_out[kind] - self.said[kind]);
            if successes + rejected == 0 || self.reports.contains(&second) {
                return None;
            }
            self.reports.push(second);
            self.said = self.left_out;
            Some(Report {
                successes,
                rejected,
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_logged_left_out_and_reported_adds_up(start in 0..1000 * SECOND, steps in steps()) {
            let (sampler, mut model) = (Sampler::new(), Model::default());
            let (mut now, mut terms) = (start, (1, u32::MAX));
            for step in steps {
                let second = now / SECOND;
                match step {
                    Step::Call(kind) => prop_assert_eq!(sampler.takes(kind, now), model.takes(kind, second, terms)),
                    Step::Report => prop_assert_eq!(sampler.report(now), model.report(second)),
                    Step::After(wait) => now += wait,
                    Step::Change(one_of, rejections) => {
                        terms = (one_of, rejections);
                        sampler.change(Sampling { one_of, rejections });
                        prop_assert_eq!(sampler.sampling(), Sampling { one_of, rejections });
                    }
                }
                prop_assert_eq!(sampler.left_out(), model.left_out.iter().sum::<u64>());
            }
        }
    }

    #[test]
    fn an_end_is_a_success_a_rejection_or_neither() {
        for (outcome, kind) in [
            (Outcome::Success, Kind::Success),
            (Outcome::Overloaded, Kind::Rejected),
            (Outcome::ClientError, Kind::Other),
            (Outcome::Failure, Kind::Other),
            (Outcome::TimedOut, Kind::Other),
            (Outcome::Cancelled, Kind::Other),
        ] {
            assert_eq!(Kind::of(&CallEnd::new(outcome)), kind, "{outcome:?}");
        }
        assert_eq!(
            Kind::of(&CallEnd::rejected_for(RejectionReason::Unauthenticated)),
            Kind::Rejected
        );
    }

    #[test]
    fn calls_of_many_threads_are_each_logged_or_counted() {
        let sampler = Sampler::new();
        sampler.change(Sampling {
            one_of: 10,
            rejections: 0,
        });
        let call = || {
            (0..1000)
                .filter(|_| sampler.takes(Kind::Success, 0))
                .count()
        };
        let logged: usize = std::thread::scope(|scope| {
            let threads = [scope.spawn(call), scope.spawn(call), scope.spawn(call)];
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!((logged, sampler.left_out()), (300, 2700));
    }
}
