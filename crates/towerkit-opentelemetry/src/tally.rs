use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::SpanReport;

/// As many are held as there can be, and nobody takes any of them.
const OVER: usize = usize::MAX;

/// Counts every span that ended exactly once: as one that is held, was sent, was dropped, or failed.
#[derive(Debug)]
pub(crate) struct Tally {
    most: usize,
    /// How many are held. [`OVER`] once there is nobody to hold any for.
    held: AtomicUsize,
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Tally {
    /// Holds at most `most` spans at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            held: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    /// Takes a place for one more span, and says how many are held then; without a place the span is dropped.
    pub(crate) fn hold(&self) -> Option<usize> {
        let more = |held: usize| (held < self.most).then(|| held + 1);
        // Relaxed: the number guards nothing; a span itself goes through the channel.
        let before = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if before.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        before.ok().map(|before| before + 1)
    }

    /// Takes spans from those that are held, unless they have been given up.
    fn release(&self, count: usize) -> u64 {
        let less = |held: usize| (held != OVER).then(|| held.saturating_sub(count));
        let released = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        released.map_or(0, |_| count as u64)
    }

    /// Counts a span as dropped that had a place.
    pub(crate) fn drop_held(&self) {
        self.dropped.fetch_add(self.release(1), Ordering::Relaxed);
    }

    /// Counts spans that have arrived.
    pub(crate) fn send(&self, count: usize) {
        self.sent.fetch_add(self.release(count), Ordering::Relaxed);
    }

    /// Counts spans that were held and did not arrive.
    pub(crate) fn fail(&self, count: usize, why: &str) {
        let count = self.release(count);
        self.count_failed(count, why);
    }

    /// Counts all spans that are held as failed, and holds none any more; also if they arrive after all.
    pub(crate) fn give_up(&self, why: &str) {
        let held = self.held.swap(OVER, Ordering::Relaxed);
        if held != OVER {
            self.count_failed(held as u64, why);
        }
    }

    fn count_failed(&self, count: u64, why: &str) {
        if count == 0 {
            return;
        }
        self.failed.fetch_add(count, Ordering::Relaxed);
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(why.to_owned());
    }

    pub(crate) fn report(&self) -> SpanReport {
        let last_error = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let held = self.held.load(Ordering::Relaxed);
        SpanReport {
            held: if held == OVER { 0 } else { held },
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            last_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(11),
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(config())]

        /// The model keeps the spans themselves, each with what became of it.
        #[test]
        fn every_span_is_counted_once(most in 0_usize..6, steps in prop::collection::vec((0_u8..40, 0_usize..4), 0..60)) {
            let tally = Tally::new(most);
            let (mut held, mut ended) = (Vec::new(), Vec::new());
            let mut is_over = false;
            for (span, (step, count)) in steps.into_iter().enumerate() {
                let taken = count.min(held.len());
                match step {
                    0..=15 => match tally.hold() {
                        Some(now) => {
                            prop_assert!(!is_over);
                            held.push(span);
                            prop_assert_eq!(now, held.len());
                        }
                        None => ended.push((span, 'd')),
                    },
                    16..=23 if !held.is_empty() || is_over => {
                        tally.drop_held();
                        ended.extend(held.pop().map(|span| (span, 'd')));
                    }
                    24..=31 => {
                        tally.send(if is_over { count } else { taken });
                        ended.extend(held.drain(..taken).map(|span| (span, 's')));
                    }
                    32..=38 => {
                        tally.fail(if is_over { count } else { taken }, "gone");
                        ended.extend(held.drain(..taken).map(|span| (span, 'f')));
                    }
                    39 => {
                        tally.give_up("late");
                        is_over = true;
                        ended.extend(held.drain(..).map(|span| (span, 'f')));
                    }
                    _ => {}
                }
                let became = |what| ended.iter().filter(|(_, became)| *became == what).count() as u64;
                let report = tally.report();
                prop_assert!(held.len() <= most);
                prop_assert_eq!(report.held(), held.len());
                prop_assert_eq!(report.sent(), became('s'));
                prop_assert_eq!(report.dropped(), became('d'));
                prop_assert_eq!(report.failed(), became('f'));
                prop_assert_eq!(report.lost(), became('d') + became('f'));
            }
        }
    }

    #[test]
    fn threads_together_hold_no_more_than_there_is_place_for() {
        let tally = Tally::new(100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).filter(|_| tally.hold().is_some()).count());
            }
        });
        let report = tally.report();
        assert_eq!((report.held(), report.dropped()), (100, 3900));
    }
}
