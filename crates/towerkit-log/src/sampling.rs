use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use towerkit_core::{CallEnd, Outcome};

use crate::per_second::PerSecondLimit;

/// Selects the calls that a [`LogLayer`](crate::LogLayer) logs; by default all calls.
///
/// | end of the call | logged |
/// |---|---|
/// | success | one of every N ([`successes`](Self::successes)) |
/// | [rejected](towerkit_core::CallEnd::rejected) or [`Overloaded`](Outcome::Overloaded) | up to N per second ([`rejections`](Self::rejections)) |
/// | any other, including panics | always |
///
/// The layer counts the calls that it leaves out: [`LogSnapshot::left_out`](crate::LogSnapshot::left_out). At most once per second, when
/// another call ends, it logs an event with the message `calls left out`, the layer's `name`, the number `left_out` since the last report
/// and, if any, the number of `rejected` calls among them. The level is `WARN` if rejected calls were left out, otherwise `INFO`.
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
    /// Creates a sampling that logs all calls.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            one_of: 1,
            rejections: u32::MAX,
        }
    }

    /// Logs one of every `one_of` successes, starting with the first; all successes by default.
    #[must_use]
    pub const fn successes(mut self, one_of: NonZeroU32) -> Self {
        self.one_of = one_of.get();
        self
    }

    /// Logs at most `per_second` rejected or overloaded calls per second; all of them by default.
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

/// Applies a [`Sampling`], and counts the calls that are left out.
#[derive(Debug)]
pub(crate) struct Sampler {
    one_of: AtomicU32,
    rejections: AtomicU32,
    successes: AtomicU64,
    rejected: PerSecondLimit,
    left_out: AtomicU64,
    /// Successes that were left out since the last report.
    unreported: AtomicU64,
    /// Rejected calls that were left out since the last report.
    unreported_rejected: AtomicU64,
    reports: PerSecondLimit,
}

/// The number of calls that were left out since the last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOutCounts {
    pub(crate) successes: u64,
    pub(crate) rejected: u64,
}

/// The kinds of call that [`Sampling`] tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallClass {
    Success,
    Rejected,
    Other,
}

impl CallClass {
    pub(crate) fn of(end: &CallEnd) -> Self {
        match end.outcome() {
            _ if end.rejection_reason().is_some() => Self::Rejected,
            Outcome::Success => Self::Success,
            Outcome::Overloaded => Self::Rejected,
            _ => Self::Other,
        }
    }
}

/// All orderings are relaxed, because the words are independent of each other.
impl Sampler {
    pub(crate) const fn new() -> Self {
        Self {
            one_of: AtomicU32::new(1),
            rejections: AtomicU32::new(u32::MAX),
            successes: AtomicU64::new(0),
            rejected: PerSecondLimit::new(),
            left_out: AtomicU64::new(0),
            unreported: AtomicU64::new(0),
            unreported_rejected: AtomicU64::new(0),
            reports: PerSecondLimit::new(),
        }
    }

    pub(crate) fn set_sampling(&self, sampling: Sampling) {
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

    /// Returns true if a call that ended at `now` is logged, and counts the call otherwise.
    pub(crate) fn samples(&self, class: CallClass, now: u64) -> bool {
        let (is_sampled, unreported) = match class {
            CallClass::Success => (self.samples_success(), &self.unreported),
            CallClass::Rejected => (self.samples_rejected(now), &self.unreported_rejected),
            CallClass::Other => return true,
        };
        if !is_sampled {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            unreported.fetch_add(1, Ordering::Relaxed);
        }
        is_sampled
    }

    fn samples_success(&self) -> bool {
        let one_of = self.one_of.load(Ordering::Relaxed);
        // If all are logged, threads share no counter.
        one_of == 1 || {
            let before = self.successes.fetch_add(1, Ordering::Relaxed);
            before.is_multiple_of(u64::from(one_of))
        }
    }

    fn samples_rejected(&self, now: u64) -> bool {
        let rejections = self.rejections.load(Ordering::Relaxed);
        rejections == u32::MAX || self.rejected.admit(now, rejections)
    }

    /// Takes the counts since the last report, if there are any and this second has had no report.
    pub(crate) fn take_report(&self, now: u64) -> Option<LeftOutCounts> {
        let counts = [&self.unreported, &self.unreported_rejected];
        let is_zero = |count: &&AtomicU64| count.load(Ordering::Relaxed) == 0;
        if counts.iter().all(is_zero) || !self.reports.admit(now, 1) {
            return None;
        }
        let [successes, rejected] = counts.map(|count| count.swap(0, Ordering::Relaxed));
        (successes + rejected > 0).then_some(LeftOutCounts {
            successes,
            rejected,
        })
    }

    /// Returns the number of calls that were left out since the start.
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
        Call(CallClass),
        Report,
        After(u64),
        Change(u32, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Call(CallClass::Success)),
            3 => Just(Step::Call(CallClass::Rejected)),
            1 => Just(Step::Call(CallClass::Other)),
            2 => Just(Step::Report),
            2 => (0..SECOND).prop_map(Step::After),
            1 => (1..5_u32, prop_oneof![Just(u32::MAX), 0..4_u32]).prop_map(|(one_of, max)| Step::Change(one_of, max)),
        ];
        prop::collection::vec(step, 1..40)
    }

    /// Every call and report, as lists.
    #[derive(Default)]
    struct Model {
        /// Successes that were counted, which excludes those that came while all were logged.
        counted: u32,
        /// The seconds of rejected calls that were logged while there was a limit.
        rejected: Vec<u64>,
        /// Successes and rejected calls that were left out, in all and up to the last report.
        left_out: [u64; 2],
        reported: [u64; 2],
        reports: Vec<u64>,
    }

    impl Model {
        fn samples(&mut self, kind: CallClass, second: u64, (one_of, max): (u32, u32)) -> bool {
            let samples = match kind {
                CallClass::Other => true,
                CallClass::Success if one_of == 1 => true,
                CallClass::Rejected if max == u32::MAX => true,
                CallClass::Success => {
                    self.counted += 1;
                    (self.counted - 1).is_multiple_of(one_of)
                }
                CallClass::Rejected => {
                    let in_second = self
                        .rejected
                        .iter()
                        .filter(|other| **other == second)
                        .count();
                    let samples = in_second < max as usize;
                    if samples {
                        self.rejected.push(second);
                    }
                    samples
                }
            };
            self.left_out[usize::from(kind == CallClass::Rejected)] += u64::from(!samples);
            samples
        }

        fn report(&mut self, second: u64) -> Option<LeftOutCounts> {
            let [successes, rejected] =
                [0, 1].map(|kind| self.left_out[kind] - self.reported[kind]);
            if successes + rejected == 0 || self.reports.contains(&second) {
                return None;
            }
            self.reports.push(second);
            self.reported = self.left_out;
            Some(LeftOutCounts {
                successes,
                rejected,
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn calls_logged_left_out_and_reported_add_up(start in 0..1000 * SECOND, steps in steps()) {
            let (sampler, mut model) = (Sampler::new(), Model::default());
            let (mut now, mut settings) = (start, (1, u32::MAX));
            for step in steps {
                let second = now / SECOND;
                match step {
                    Step::Call(kind) => prop_assert_eq!(sampler.samples(kind, now), model.samples(kind, second, settings)),
                    Step::Report => prop_assert_eq!(sampler.take_report(now), model.report(second)),
                    Step::After(wait) => now += wait,
                    Step::Change(one_of, rejections) => {
                        settings = (one_of, rejections);
                        sampler.set_sampling(Sampling { one_of, rejections });
                        prop_assert_eq!(sampler.sampling(), Sampling { one_of, rejections });
                    }
                }
                prop_assert_eq!(sampler.left_out(), model.left_out.iter().sum::<u64>());
            }
        }
    }

    #[test]
    fn each_end_belongs_to_one_class() {
        for (outcome, kind) in [
            (Outcome::Success, CallClass::Success),
            (Outcome::Overloaded, CallClass::Rejected),
            (Outcome::ClientError, CallClass::Other),
            (Outcome::Failure, CallClass::Other),
            (Outcome::TimedOut, CallClass::Other),
            (Outcome::Cancelled, CallClass::Other),
        ] {
            assert_eq!(CallClass::of(&CallEnd::new(outcome)), kind, "{outcome:?}");
        }
        assert_eq!(
            CallClass::of(&CallEnd::rejected_for(RejectionReason::Unauthenticated)),
            CallClass::Rejected
        );
    }

    #[test]
    fn calls_of_many_threads_are_each_logged_or_counted() {
        let sampler = Sampler::new();
        sampler.set_sampling(Sampling {
            one_of: 10,
            rejections: 0,
        });
        let call = || {
            (0..1000)
                .filter(|_| sampler.samples(CallClass::Success, 0))
                .count()
        };
        let logged: usize = std::thread::scope(|scope| {
            let threads = [scope.spawn(call), scope.spawn(call), scope.spawn(call)];
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!((logged, sampler.left_out()), (300, 2700));
    }
}
