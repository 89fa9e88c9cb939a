use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::SpanExporterSnapshot;

/// The number of held spans after [`SpanCounts::give_up`], which leaves no room for another span.
const CLOSED: usize = usize::MAX;

/// Counts every span that ended exactly once: as held, sent, dropped or failed.
#[derive(Debug)]
pub(crate) struct SpanCounts {
    max_held: usize,
    /// The number of spans that wait or are being sent; [`CLOSED`] after [`give_up`](Self::give_up).
    held: AtomicUsize,
    dropped: AtomicU64,
    /// Locked to count the end of a batch, so that a snapshot never misses spans between two counts.
    ended: Mutex<EndedSpans>,
}

#[derive(Debug, Default)]
struct EndedSpans {
    sent: u64,
    failed: u64,
    last_error: Option<String>,
}

/// The number of spans of the current batch that the receiver rejected, which the result of a [`SpanExporter`] cannot say.
///
/// [`SpanExporter`]: opentelemetry_sdk::trace::SpanExporter
#[derive(Debug, Clone, Default)]
pub(crate) struct RejectedSpans(Arc<AtomicU64>);

impl RejectedSpans {
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    pub(crate) fn add(&self, count: u64) {
        // Relaxed: a single task writes and reads it.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl SpanCounts {
    /// Creates counts that hold at most `max_held` spans at a time.
    pub(crate) fn new(max_held: usize) -> Self {
        Self {
            max_held,
            held: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            ended: Mutex::default(),
        }
    }

    /// Counts one more span as held and returns the number of held spans; counts it as dropped if the queue is full.
    pub(crate) fn hold(&self) -> Option<usize> {
        let more = |held: usize| (held < self.max_held).then(|| held + 1);
        // Relaxed: the number guards no data; a span itself goes through the channel.
        let before = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if before.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        before.ok().map(|before| before + 1)
    }

    /// Subtracts spans from the held ones and returns their number; returns 0 after [`give_up`](Self::give_up). The caller holds the lock.
    fn release(&self, count: usize) -> u64 {
        let less = |held: usize| (held != CLOSED).then(|| held.saturating_sub(count));
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
    pub(crate) fn fail(&self, count: usize, reason: &str) {
        let mut ended = self.ended();
        let count = self.release(count);
        ended.fail(count, reason);
    }

    /// Counts all held spans as failed, even if they arrive later, and holds no more.
    pub(crate) fn give_up(&self, reason: &str) {
        let mut ended = self.ended();
        let held = self.held.swap(CLOSED, Ordering::Relaxed);
        if held != CLOSED {
            ended.fail(held as u64, reason);
        }
    }

    pub(crate) fn snapshot(&self) -> SpanExporterSnapshot {
        let ended = self.ended();
        let held = self.held.load(Ordering::Relaxed);
        SpanExporterSnapshot {
            held: if held == CLOSED { 0 } else { held },
            sent: ended.sent,
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: ended.failed,
            last_error: ended.last_error.clone(),
        }
    }

    fn ended(&self) -> MutexGuard<'_, EndedSpans> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndedSpans {
    fn fail(&mut self, count: u64, reason: &str) {
        if count > 0 {
            self.failed += count;
            self.last_error = Some(reason.to_owned());
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

        /// The model keeps the spans themselves, each with its end.
        #[test]
        fn every_span_is_counted_once(max in 0_usize..6, steps in prop::collection::vec((0_u8..40, 0_usize..4), 0..60)) {
            let counts = SpanCounts::new(max);
            let (mut held, mut ended) = (Vec::new(), Vec::new());
            let mut is_over = false;
            for (span, (step, count)) in steps.into_iter().enumerate() {
                let taken = count.min(held.len());
                match step {
                    0..=15 => match counts.hold() {
                        Some(now) => {
                            prop_assert!(!is_over);
                            held.push(span);
                            prop_assert_eq!(now, held.len());
                        }
                        None => ended.push((span, 'd')),
                    },
                    16..=23 if !held.is_empty() || is_over => {
                        counts.drop_held();
                        ended.extend(held.pop().map(|span| (span, 'd')));
                    }
                    24..=31 => {
                        counts.send(if is_over { count } else { taken });
                        ended.extend(held.drain(..taken).map(|span| (span, 's')));
                    }
                    32..=38 => {
                        counts.fail(if is_over { count } else { taken }, "gone");
                        ended.extend(held.drain(..taken).map(|span| (span, 'f')));
                    }
                    39 => {
                        counts.give_up("late");
                        is_over = true;
                        ended.extend(held.drain(..).map(|span| (span, 'f')));
                    }
                    _ => {}
                }
                let ended_as = |end| ended.iter().filter(|(_, as_)| *as_ == end).count() as u64;
                let snapshot = counts.snapshot();
                prop_assert!(held.len() <= max);
                prop_assert_eq!(snapshot.held(), held.len());
                prop_assert_eq!(snapshot.sent(), ended_as('s'));
                prop_assert_eq!(snapshot.dropped(), ended_as('d'));
                prop_assert_eq!(snapshot.failed(), ended_as('f'));
                prop_assert_eq!(snapshot.lost(), ended_as('d') + ended_as('f'));
            }
        }
    }

    #[test]
    fn threads_together_hold_at_most_the_maximum() {
        let counts = SpanCounts::new(100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).filter(|_| counts.hold().is_some()).count());
            }
        });
        let snapshot = counts.snapshot();
        assert_eq!((snapshot.held(), snapshot.dropped()), (100, 3900));
    }

    /// A shutdown that runs out of time counts beside the worker: no snapshot may miss a span that either of them counts.
    #[test]
    fn a_snapshot_never_misses_a_span_that_is_being_counted() {
        const SPANS: u64 = 20_000;
        let counts = SpanCounts::new(SPANS as usize);
        for _ in 0..SPANS {
            counts.hold();
        }
        let total = || {
            let snapshot = counts.snapshot();
            snapshot.held() as u64 + snapshot.sent() + snapshot.lost()
        };
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for _ in 0..SPANS / 4 {
                    counts.send(1);
                    counts.fail(1, "busy");
                }
                counts.give_up("late");
            });
            while !worker.is_finished() {
                assert_eq!(total(), SPANS);
            }
        });
        assert_eq!(total(), SPANS);
    }
}
