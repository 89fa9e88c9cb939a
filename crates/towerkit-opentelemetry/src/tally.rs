use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::SpanExporterSnapshot;

/// As many are held as there can be, and nobody takes any of them.
const OVER: usize = usize::MAX;

/// Counts every span that ended exactly once: as held, sent, dropped or failed.
#[derive(Debug)]
pub(crate) struct Tally {
    most: usize,
    /// The number of spans that wait or are being sent; [`OVER`] after [`give_up`](Self::give_up).
    held: AtomicUsize,
    dropped: AtomicU64,
    /// Taken to count the end of a batch, so that a report never sees a span that is neither held nor counted.
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    sent: u64,
    failed: u64,
    last_error: Option<String>,
}

impl Tally {
    /// Holds at most `most` spans at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            held: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            ended: Mutex::default(),
        }
    }

    /// Counts one more span as held and returns how many are held then; counts it as dropped if the queue is full.
    pub(crate) fn hold(&self) -> Option<usize> {
        let more = |held: usize| (held < self.most).then(|| held + 1);
        // Relaxed: the number guards no data; a span itself goes through the channel.
        let before = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if before.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        before.ok().map(|before| before + 1)
    }

    /// Takes spans from those that are held, unless they have been given up. The caller holds the lock.
    fn release(&self, count: usize) -> u64 {
        let less = |held: usize| (held != OVER).then(|| held.saturating_sub(count));
        let released = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        released.map_or(0, |_| count as u64)
    }

    /// Counts a held span as dropped.
    pub(crate) fn drop_held(&self) {
        let _ended = self.ended();
        self.dropped.fetch_add(self.release(1), Ordering::Relaxed);
    }

    /// Counts held spans as sent.
    pub(crate) fn send(&self, count: usize) {
        // In two steps: `+=` would release the spans before it takes the lock.
        let mut ended = self.ended();
        ended.sent += self.release(count);
    }

    /// Counts held spans as failed.
    pub(crate) fn fail(&self, count: usize, why: &str) {
        let mut ended = self.ended();
        let count = self.release(count);
        ended.fail(count, why);
    }

    /// Counts all held spans as failed, even if they arrive later, and holds no more.
    pub(crate) fn give_up(&self, why: &str) {
        let mut ended = self.ended();
        let held = self.held.swap(OVER, Ordering::Relaxed);
        if held != OVER {
            ended.fail(held as u64, why);
        }
    }

    pub(crate) fn snapshot(&self) -> SpanExporterSnapshot {
        let ended = self.ended();
        let held = self.held.load(Ordering::Relaxed);
        SpanExporterSnapshot {
            held: if held == OVER { 0 } else { held },
            sent: ended.sent,
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: ended.failed,
            last_error: ended.last_error.clone(),
        }
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ended {
    fn fail(&mut self, count: u64, why: &str) {
        if count > 0 {
            self.failed += count;
            self.last_error = Some(why.to_owned());
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
                let report = tally.snapshot();
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
        let report = tally.snapshot();
        assert_eq!((report.held(), report.dropped()), (100, 3900));
    }

    /// A shutdown that runs out of time counts beside the worker: no report may miss a span that either of them counts.
    #[test]
    fn a_report_never_misses_a_span_that_is_being_counted() {
        const SPANS: u64 = 20_000;
        let tally = Tally::new(SPANS as usize);
        for _ in 0..SPANS {
            tally.hold();
        }
        let total = || {
            let report = tally.snapshot();
            report.held() as u64 + report.sent() + report.lost()
        };
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for _ in 0..SPANS / 4 {
                    tally.send(1);
                    tally.fail(1, "busy");
                }
                tally.give_up("late");
            });
            while !worker.is_finished() {
                assert_eq!(total(), SPANS);
            }
        });
        assert_eq!(total(), SPANS);
    }
}
