use crate::{
    bucket::Bucket,
    sync::{AtomicU64, Ordering},
};

/// A histogram of the latencies of recent calls, in buckets whose width grows with the latency.
///
/// The window has two intervals. When the current interval ends, it becomes the previous one, and the counts of the previous one expire, so
/// that a sample lives for one interval at least and for two at most. Each [`Bucket`] has the generation of its last sample, and rotates by
/// itself in one compare-and-swap. So every sample is counted, in its own interval, whichever thread rotates first. The histogram has no
/// lock, allocates only when it is created, takes 3.6 KiB, and records every sample in constant time.
///
/// All orderings are relaxed: no word says anything about another one.
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    /// A packed [`Interval`].
    current: AtomicU64,
}

/// The current interval of the window, in one word, so that its end is never read with the generation of another interval.
#[derive(Debug, Clone, Copy)]
struct Interval {
    generation: u16,
    /// The end, in milliseconds.
    end: u64,
}

impl Interval {
    /// 48 bits of milliseconds hold more than [`u64::MAX`] nanoseconds.
    const END_BITS: u32 = 48;
    const MAX_END: u64 = (1 << Self::END_BITS) - 1;

    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> Self::END_BITS) as u16,
            end: word & Self::MAX_END,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.generation) << Self::END_BITS | self.end.min(Self::MAX_END)
    }

    /// Returns the interval that contains `now`. After a gap of an interval or more, all earlier samples have expired.
    fn next(self, now: u64, length: u64) -> Self {
        let is_next = now - self.end < length;
        Self {
            generation: self.generation.wrapping_add(if is_next { 1 } else { 2 }),
            end: if is_next { self.end } else { now }.saturating_add(length),
        }
    }
}

impl Histogram {
    /// There are 16 buckets between a power of two and the next, so that a bucket is at most a sixteenth wide.
    const BITS: u32 = 4;

    /// The number of buckets for every [`u32`] of microseconds.
    const BUCKETS: usize = ((u32::BITS - Self::BITS + 1) << Self::BITS) as usize;

    pub(crate) fn new() -> Self {
        Self::with_buckets(Self::BUCKETS)
    }

    pub(crate) fn with_buckets(buckets: usize) -> Self {
        Self {
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
            current: AtomicU64::new(0),
        }
    }

    /// Records a latency at `now`, in a window of two intervals of `length`; both times are in milliseconds.
    pub(crate) fn record(&self, now: u64, length: u64, micros: u32) {
        let generation = self.generation(now, length);
        if let Some(bucket) = self.buckets.get(index(micros)) {
            // The closure never rejects.
            let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(Bucket::unpack(word).at(generation).increment().pack())
            });
        }
    }

    /// Returns the latency, in microseconds, that at least `millionths` of the samples do not exceed, or [`None`] for fewer than `minimum`
    /// samples.
    ///
    /// The latency is rounded up to the end of its bucket, by less than a sixteenth.
    pub(crate) fn quantile(
        &self,
        now: u64,
        length: u64,
        millionths: u32,
        minimum: u32,
    ) -> Option<u32> {
        let mut counts = [0; Self::BUCKETS];
        let samples = self.copy_counts(self.generation(now, length), &mut counts);
        if samples < u64::from(minimum) {
            return None;
        }
        let rank = (samples * u64::from(millionths)).div_ceil(1_000_000);
        let mut cumulative = 0;
        let index = counts.iter().position(|count| {
            cumulative += u64::from(*count);
            cumulative >= rank.max(1)
        });
        index.map(last)
    }

    /// Copies the counts, while other threads may record, and returns their sum.
    fn copy_counts(&self, generation: u16, counts: &mut [u32]) -> u64 {
        let mut sum = 0;
        for (bucket, count) in self.buckets.iter().zip(counts) {
            let word = bucket.load(Ordering::Relaxed);
            *count = Bucket::unpack(word).at(generation).total();
            sum += u64::from(*count);
        }
        sum
    }

    /// Returns the generation of the interval that contains `now`.
    #[inline(always)]
    fn generation(&self, now: u64, length: u64) -> u16 {
        let word = self.current.load(Ordering::Relaxed);
        let interval = Interval::unpack(word);
        if now < interval.end {
            return interval.generation;
        }
        self.rotate(word, interval.next(now, length))
    }

    /// Starts the next interval, unless another thread has done so, and returns the current generation.
    #[cold]
    #[inline(never)]
    fn rotate(&self, ended: u64, next: Interval) -> u16 {
        let swapped =
            self.current
                .compare_exchange(ended, next.pack(), Ordering::Relaxed, Ordering::Relaxed);
        match swapped {
            Ok(_) => self.rotate_buckets(next.generation),
            Err(word) => return Interval::unpack(word).generation,
        }
        next.generation
    }

    /// Rotates the buckets without samples, so that their generation is never taken for a later one when its 16 bits wrap.
    fn rotate_buckets(&self, generation: u16) {
        for bucket in &self.buckets {
            let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let rotated = Bucket::unpack(word).at(generation).pack();
                (rotated != word).then_some(rotated)
            });
        }
    }
}

/// Returns the index of the bucket for a latency: one bucket for each of the first 16 values, and 16 for each later power of two.
fn index(micros: u32) -> usize {
    let shift = (micros.max(1).ilog2()).saturating_sub(Histogram::BITS);
    ((shift << Histogram::BITS) + (micros >> shift)) as usize
}

/// Returns the highest latency of a bucket.
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

    /// All samples, each with the number of its interval.
    #[derive(Default)]
    struct History {
        samples: Vec<(i128, u32)>,
        interval: i128,
        started: Option<i128>,
    }

    impl History {
        const INTERVAL: i128 = 1000;

        /// The next interval starts at the end of the last one, or now after a gap of an interval or more.
        fn rotate(&mut self, now: i128) {
            let started = *self.started.get_or_insert(now);
            let passed = (now - started).div_euclid(Self::INTERVAL).max(0);
            self.interval += passed.min(2);
            match passed {
                0 => {}
                1 => self.started = Some(started + Self::INTERVAL),
                _ => self.started = Some(now),
            }
        }

        fn record(&mut self, now: i128, micros: u32) {
            self.rotate(now);
            self.samples.push((self.interval, micros));
        }

        /// Returns the smallest sample that at least `millionths` of the samples do not exceed.
        fn quantile(&mut self, now: i128, millionths: i128) -> Option<u32> {
            self.rotate(now);
            let recent = |interval: i128| (self.interval - 1..=self.interval).contains(&interval);
            let samples = self
                .samples
                .iter()
                .filter(|(interval, _)| recent(*interval));
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
        Quantile(u32),
        Advance(u64),
        Rewind(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let micros = prop_oneof![0..40u32, 900..1100u32, any::<u32>()];
        let step = prop_oneof![
            6 => (micros, 1..20u8).prop_map(|(micros, times)| Step::Record(micros, times)),
            3 => (1..1_000_000u32).prop_map(Step::Quantile),
            1 => Just(Step::Quantile(950_000)),
            2 => (0..700u64).prop_map(Step::Advance),
            1 => (700..5000u64).prop_map(Step::Advance),
            1 => (0..1500u64).prop_map(Step::Rewind),
        ];
        prop::collection::vec(step, 1..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Compares with a sorted list of all samples, also when the clock steps back.
        #[test]
        fn a_quantile_is_rounded_up_by_less_than_a_sixteenth(
            start in prop_oneof![50_000..1_000_000u64, Just(u64::MAX / 1_000_000)],
            steps in steps(),
        ) {
            const INTERVAL: u64 = History::INTERVAL as u64;
            let (histogram, mut history) = (Histogram::new(), History::default());
            let mut now = start;
            for step in steps {
                match step {
                    Step::Record(micros, times) => for _ in 0..times {
                        histogram.record(now, INTERVAL, micros);
                        history.record(now.into(), micros);
                    },
                    Step::Quantile(millionths) => {
                        let seen = histogram.quantile(now, INTERVAL, millionths, 1);
                        let exact = history.quantile(now.into(), millionths.into());
                        prop_assert_eq!(seen.is_some(), exact.is_some());
                        if let (Some(seen), Some(exact)) = (seen, exact) {
                            prop_assert!(seen >= exact && seen - exact <= exact / 16, "{} {}", seen, exact);
                        }
                    }
                    Step::Advance(wait) => now += wait,
                    Step::Rewind(wait) => now = now.saturating_sub(wait),
                }
            }
        }
    }

    /// The clock jumps by zero intervals, by one, by a little less and more than the window, by an hour, and back. One of the samples is a
    /// latency of an hour, which counts as one sample.
    #[test]
    fn no_sample_outlives_the_window_after_any_jump_of_the_clock() {
        const INTERVAL: u64 = 30_000;
        const START: u64 = 100 * INTERVAL;
        const HOUR: u32 = 3_600_000_000;
        let table = [
            (START, true),
            (START + 1, true),
            (START + INTERVAL - 1, true),
            (START + INTERVAL, true),
            (START + 2 * INTERVAL - 1, true),
            (START + 2 * INTERVAL, false),
            (START + 2 * INTERVAL + 1, false),
            (START + 3 * INTERVAL, false),
            (START + 120 * INTERVAL, false),
            (START - 50 * INTERVAL, true),
            (u64::MAX / 1_000_000, false),
        ];
        for (now, is_left) in table {
            let histogram = Histogram::new();
            (0..99).for_each(|_| histogram.record(START, INTERVAL, 7));
            histogram.record(START, INTERVAL, HOUR);
            let all = histogram.quantile(now, INTERVAL, 990_000, 100);
            assert_eq!(all, is_left.then_some(7), "{now}");
            (0..99).for_each(|_| histogram.record(now, INTERVAL, 9));
            let before = if is_left { 100 } else { 0 };
            assert!(
                histogram
                    .quantile(now, INTERVAL, 500_000, 99 + before)
                    .is_some()
            );
            assert!(
                histogram
                    .quantile(now, INTERVAL, 500_000, 100 + before)
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

    /// A bucket with one old sample stays empty when the generation wraps around.
    #[test]
    fn an_expired_sample_stays_expired() {
        let histogram = Histogram::new();
        histogram.record(1000, 1000, 7);
        for interval in 1..40_000 {
            let seen = histogram.quantile(1000 * interval, 1000, 500_000, 1);
            assert_eq!(seen.is_some(), interval < 3, "{interval}");
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
