use crate::{
    bucket::Bucket,
    sync::{AtomicU64, Ordering},
};

/// The times of recent calls, counted in buckets whose width grows with the time: what a quantile is read from.
///
/// The window has two halves. When the current half is over it becomes the one before, whose counts are forgotten, so that a sample
/// lives for one half at least and two at most. Each bucket carries the number of the half it was last counted in and so turns by
/// itself, in one compare-and-swap: no sample is lost, and none is counted in a half that is not its own, whichever thread turns
/// first. No lock, no allocation, 3.6 KiB, and as much work for the millionth sample as for the first.
///
/// All orderings are relaxed: no word is read as a promise about another.
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    /// A packed [`Half`].
    half: AtomicU64,
}

/// The current half of the window. Both parts stand in one word, so that nobody sees the end of one half with the number of another.
#[derive(Debug, Clone, Copy)]
struct Half {
    epoch: u16,
    /// When it is over, in milliseconds.
    ends: u64,
}

impl Half {
    /// 48 bits of milliseconds: more than [`u64`] nanoseconds have.
    const ENDS: u32 = 48;
    const LAST: u64 = (1 << Self::ENDS) - 1;

    fn unpack(word: u64) -> Self {
        Self {
            epoch: (word >> Self::ENDS) as u16,
            ends: word & Self::LAST,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.epoch) << Self::ENDS | self.ends.min(Self::LAST)
    }

    /// Returns the half that follows at `now`; after a gap of a half or more, one in which nothing is left of what was before.
    fn next(self, now: u64, length: u64) -> Self {
        let is_next = now - self.ends < length;
        Self {
            epoch: self.epoch.wrapping_add(if is_next { 1 } else { 2 }),
            ends: if is_next { self.ends } else { now }.saturating_add(length),
        }
    }
}

impl Histogram {
    /// There are 16 buckets between a power of two and the next, so that a bucket is as wide as a sixteenth of what is in it.
    const BITS: u32 = 4;

    /// All of [`u32`] microseconds.
    const BUCKETS: usize = ((u32::BITS - Self::BITS + 1) << Self::BITS) as usize;

    pub(crate) fn new() -> Self {
        Self::with(Self::BUCKETS)
    }

    pub(crate) fn with(buckets: usize) -> Self {
        Self {
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
            half: AtomicU64::new(0),
        }
    }

    /// Counts a sample of so many microseconds at `now`, in halves of that length, both in milliseconds.
    pub(crate) fn record(&self, now: u64, length: u64, micros: u32) {
        let epoch = self.epoch(now, length);
        if let Some(bucket) = self.buckets.get(index(micros)) {
            // It never rejects.
            let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(Bucket::unpack(word).at(epoch).plus_one().pack())
            });
        }
    }

    /// Returns the smallest time, in microseconds, within which at least `millionths` of the samples fell: rounded up to the end of
    /// its bucket, and so never too small, and too great by less than a sixteenth. `None` if there are fewer than `minimum` samples.
    pub(crate) fn quantile(
        &self,
        now: u64,
        length: u64,
        millionths: u32,
        minimum: u32,
    ) -> Option<u32> {
        let mut counts = [0; Self::BUCKETS];
        let samples = self.copy(self.epoch(now, length), &mut counts);
        if samples < u64::from(minimum) {
            return None;
        }
        let rank = (samples * u64::from(millionths)).div_ceil(1_000_000);
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank.max(1)
        });
        at.map(last)
    }

    /// Copies the counts of one moment, more or less, and returns their sum.
    fn copy(&self, epoch: u16, counts: &mut [u32]) -> u64 {
        let mut sum = 0;
        for (bucket, count) in self.buckets.iter().zip(counts) {
            let word = bucket.load(Ordering::Relaxed);
            *count = Bucket::unpack(word).at(epoch).total();
            sum += u64::from(*count);
        }
        sum
    }

    /// Returns the number of the half that `now` is in.
    #[inline(always)]
    fn epoch(&self, now: u64, length: u64) -> u16 {
        let word = self.half.load(Ordering::Relaxed);
        let half = Half::unpack(word);
        if now < half.ends {
            return half.epoch;
        }
        self.turn(word, half.next(now, length))
    }

    /// Begins the next half, unless another thread has done so, and returns its number.
    #[cold]
    #[inline(never)]
    fn turn(&self, over: u64, next: Half) -> u16 {
        let turned =
            self.half
                .compare_exchange(over, next.pack(), Ordering::Relaxed, Ordering::Relaxed);
        match turned {
            Ok(_) => self.sweep(next.epoch),
            Err(word) => return Half::unpack(word).epoch,
        }
        next.epoch
    }

    /// Turns the buckets that no sample falls into, so that none is ever taken for a newer one when the 16 bits wrap.
    fn sweep(&self, epoch: u16) {
        for bucket in &self.buckets {
            let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let turned = Bucket::unpack(word).at(epoch).pack();
                (turned != word).then_some(turned)
            });
        }
    }
}

/// Returns the bucket of a time: the first 16 have one each, then come 16 for each power of two.
fn index(micros: u32) -> usize {
    let shift = (micros.max(1).ilog2()).saturating_sub(Histogram::BITS);
    ((shift << Histogram::BITS) + (micros >> shift)) as usize
}

/// Returns the longest time that falls into a bucket.
fn last(index: usize) -> u32 {
    let (octave, part) = (index >> Histogram::BITS, index & 0xF);
    match octave.checked_sub(1) {
        None => part as u32,
        Some(shift) => (((part as u64 + 17) << shift) - 1) as u32,
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_of_at_most_a_sixteenth() {
        let edges = (0..u32::BITS).flat_map(|bit| {
            let power = 1u32 << bit;
            [power - 1, power, power + power / 3, power + (power - 1)]
        });
        for micros in edges.chain(0..2000) {
            let index = index(micros);
            assert!(index < Histogram::BUCKETS, "{micros}");
            let last = last(index);
            assert!(last >= micros, "{micros}: {last}");
            assert!(last - micros <= micros / 16, "{micros}: {last}");
            assert!(index == 0 || super::last(index - 1) < micros, "{micros}");
        }
        assert_eq!(last(index(u32::MAX)), u32::MAX);
        assert_eq!(index(u32::MAX), Histogram::BUCKETS - 1);
    }

    /// All samples ever, each with the number of the half it fell in.
    #[derive(Default)]
    struct History {
        samples: Vec<(i128, u32)>,
        half: i128,
        began: Option<i128>,
    }

    impl History {
        const HALF: i128 = 1000;

        /// Halves follow one another; after a gap of one or more they begin anew.
        fn turn(&mut self, now: i128) {
            let began = *self.began.get_or_insert(now);
            let passed = (now - began).div_euclid(Self::HALF).max(0);
            self.half += passed.min(2);
            match passed {
                0 => {}
                1 => self.began = Some(began + Self::HALF),
                _ => self.began = Some(now),
            }
        }

        fn record(&mut self, now: i128, micros: u32) {
            self.turn(now);
            self.samples.push((self.half, micros));
        }

        /// The smallest sample that at least so many of the sorted samples do not exceed.
        fn quantile(&mut self, now: i128, millionths: i128) -> Option<u32> {
            self.turn(now);
            let recent = |half: i128| (self.half - 1..=self.half).contains(&half);
            let samples = self.samples.iter().filter(|(half, _)| recent(*half));
            let mut sorted: Vec<u32> = samples.map(|(_, micros)| *micros).collect();
            sorted.sort_unstable();
            let count = sorted.len() as i128;
            let is_enough = |at: &usize| (*at as i128 + 1) * 1_000_000 >= count * millionths;
            (0..sorted.len()).find(is_enough).map(|at| sorted[at])
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Record(u32, u8),
        Ask(u32),
        After(u64),
        Before(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let micros = prop_oneof![0..40u32, 900..1100u32, any::<u32>()];
        let step = prop_oneof![
            6 => (micros, 1..20u8).prop_map(|(micros, times)| Step::Record(micros, times)),
            3 => (1..1_000_000u32).prop_map(Step::Ask),
            1 => Just(Step::Ask(950_000)),
            2 => (0..700u64).prop_map(Step::After),
            1 => (700..5000u64).prop_map(Step::After),
            1 => (0..1500u64).prop_map(Step::Before),
        ];
        prop::collection::vec(step, 1..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a sorted list of all samples, also when the clock steps back.
        #[test]
        fn a_quantile_is_rounded_up_by_less_than_a_sixteenth(
            start in prop_oneof![50_000..1_000_000u64, Just(u64::MAX / 1_000_000)],
            steps in steps(),
        ) {
            const HALF: u64 = History::HALF as u64;
            let (histogram, mut history) = (Histogram::new(), History::default());
            let mut now = start;
            for step in steps {
                match step {
                    Step::Record(micros, times) => for _ in 0..times {
                        histogram.record(now, HALF, micros);
                        history.record(now.into(), micros);
                    },
                    Step::Ask(millionths) => {
                        let seen = histogram.quantile(now, HALF, millionths, 1);
                        let exact = history.quantile(now.into(), millionths.into());
                        prop_assert_eq!(seen.is_some(), exact.is_some());
                        if let (Some(seen), Some(exact)) = (seen, exact) {
                            prop_assert!(seen >= exact && seen - exact <= exact / 16, "{} {}", seen, exact);
                        }
                    }
                    Step::After(wait) => now += wait,
                    Step::Before(wait) => now = now.saturating_sub(wait),
                }
            }
        }
    }

    /// The table that every sliding structure keeps: jumps of no half, one, one less and one more than the window, an hour, and back;
    /// with a sample that took an hour itself, which is worth one like any other.
    #[test]
    fn no_sample_outlives_the_window_after_any_jump_of_the_clock() {
        const HALF: u64 = 30_000;
        const START: u64 = 100 * HALF;
        const HOUR: u32 = 3_600_000_000;
        let table = [
            (START, true),
            (START + 1, true),
            (START + HALF - 1, true),
            (START + HALF, true),
            (START + 2 * HALF - 1, true),
            (START + 2 * HALF, false),
            (START + 2 * HALF + 1, false),
            (START + 3 * HALF, false),
            (START + 120 * HALF, false),
            (START - 50 * HALF, true),
            (u64::MAX / 1_000_000, false),
        ];
        for (now, is_left) in table {
            let histogram = Histogram::new();
            (0..99).for_each(|_| histogram.record(START, HALF, 7));
            histogram.record(START, HALF, HOUR);
            let all = histogram.quantile(now, HALF, 990_000, 100);
            assert_eq!(all, is_left.then_some(7), "{now}");
            (0..99).for_each(|_| histogram.record(now, HALF, 9));
            let before = if is_left { 100 } else { 0 };
            assert!(
                histogram
                    .quantile(now, HALF, 500_000, 99 + before)
                    .is_some()
            );
            assert!(
                histogram
                    .quantile(now, HALF, 500_000, 100 + before)
                    .is_none()
            );
        }
    }

    #[test]
    fn too_few_samples_give_no_quantile() {
        let histogram = Histogram::new();
        (0..9).for_each(|_| histogram.record(5000, 1000, 7));
        assert_eq!(histogram.quantile(5000, 1000, 500_000, 10), None);
        histogram.record(5000, 1000, 7);
        assert_eq!(histogram.quantile(5000, 1000, 500_000, 10), Some(7));
    }

    /// A bucket that was used once does not come back when the number of its half does.
    #[test]
    fn an_expired_sample_stays_expired() {
        let histogram = Histogram::new();
        histogram.record(1000, 1000, 7);
        for half in 1..40_000 {
            let seen = histogram.quantile(1000 * half, 1000, 500_000, 1);
            assert_eq!(seen.is_some(), half < 3, "{half}");
        }
    }

    #[test]
    fn the_end_of_time_does_not_wrap_around() {
        let histogram = Histogram::new();
        for now in [u64::MAX - 1, u64::MAX, u64::MAX] {
            histogram.record(now, u64::MAX, 1);
            histogram.quantile(now, 1, 999_999, 1);
        }
    }
}
