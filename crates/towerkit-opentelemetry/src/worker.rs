use std::sync::{Arc, mpsc::SyncSender};

use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use tokio::{
    select,
    sync::{
        Notify,
        mpsc::{self, error::TryRecvError},
        watch,
    },
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::{ExportConfig, wait_for_deadline},
    span_counts::{RejectedSpans, SpanCounts},
};

/// Exports one batch after the other.
pub(crate) struct Worker<E> {
    pub(crate) exporter: E,
    pub(crate) rejected: RejectedSpans,
    pub(crate) queue: SpanQueue,
    pub(crate) config: ExportConfig,
    /// Notified when the queue holds a whole batch.
    pub(crate) batch_full: Arc<Notify>,
    pub(crate) flushes: mpsc::UnboundedReceiver<SyncSender<OTelSdkResult>>,
    /// The deadline of the shutdown, once it has begun.
    pub(crate) shutdown: watch::Receiver<Option<Instant>>,
}

/// A reason to export.
enum Trigger {
    BatchFull,
    DelayElapsed,
    Flush(SyncSender<OTelSdkResult>),
    Shutdown,
}

impl<E: SpanExporter> Worker<E> {
    /// Exports until the shutdown and returns its result.
    pub(crate) async fn run(mut self) -> OTelSdkResult {
        let mut next = Instant::now() + self.config.delay;
        loop {
            match self.next_trigger(next).await {
                Trigger::BatchFull => {
                    let _ = self.export_all(self.config.batch.get()).await;
                }
                Trigger::DelayElapsed => {
                    let _ = self.export_all(1).await;
                    next = Instant::now() + self.config.delay;
                }
                Trigger::Flush(done) => {
                    let result = self.export_all(1).await;
                    let _ = done.send(result);
                }
                Trigger::Shutdown => return self.shut_down().await,
            }
        }
    }

    async fn next_trigger(&mut self, next: Instant) -> Trigger {
        select! {
            biased;
            _ = self.shutdown.wait_for(Option::is_some) => Trigger::Shutdown,
            Some(done) = self.flushes.recv() => Trigger::Flush(done),
            () = sleep_until(next) => Trigger::DelayElapsed,
            () = self.batch_full.notified() => Trigger::BatchFull,
        }
    }

    /// Exports the queued spans while at least `min` are left, and returns the first failure.
    async fn export_all(&mut self, min: usize) -> OTelSdkResult {
        let mut left = self.queue.spans.len();
        let mut result = Ok(());
        while left >= min && !self.queue.is_expired {
            let batch = self.queue.take_batch();
            if batch.is_empty() {
                break;
            }
            left = left.saturating_sub(batch.len());
            let sent = self.export(batch).await;
            result = result.and(sent);
        }
        result
    }

    async fn export(&mut self, batch: Vec<SpanData>) -> OTelSdkResult {
        let in_flight = BatchInFlight::new(&self.queue.counts, batch.len());
        let limit = self.config.timeout;
        let result = select! {
            biased;
            sent = timeout(limit, self.exporter.export(batch)) => {
                sent.unwrap_or(Err(OTelSdkError::Timeout(limit)))
            }
            () = wait_for_deadline(self.shutdown.clone()) => {
                self.queue.is_expired = true;
                Err(OTelSdkError::Timeout(limit))
            }
        };
        in_flight.complete(&result, self.rejected.take());
        result
    }

    /// Closes the queue and exports its last spans until the deadline.
    async fn shut_down(mut self) -> OTelSdkResult {
        self.queue.spans.close();
        let mut result = self.export_all(1).await;
        if self.queue.is_expired {
            // The deadline may have expired during an earlier export.
            result = Err(OTelSdkError::Timeout(self.config.timeout));
        }
        let _ = self.exporter.shutdown();
        result
    }
}

/// The spans that wait for an export. Spans that are left when it is dropped count as failed.
#[derive(Debug)]
pub(crate) struct SpanQueue {
    spans: mpsc::UnboundedReceiver<SpanData>,
    counts: Arc<SpanCounts>,
    batch_size: usize,
    /// True after the deadline of the shutdown.
    is_expired: bool,
}

impl SpanQueue {
    pub(crate) fn new(
        spans: mpsc::UnboundedReceiver<SpanData>,
        counts: Arc<SpanCounts>,
        batch_size: usize,
    ) -> Self {
        Self {
            spans,
            counts,
            batch_size,
            is_expired: false,
        }
    }

    fn take_batch(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::with_capacity(self.batch_size.min(self.spans.len()));
        while batch.len() < self.batch_size
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
        batch
    }
}

impl Drop for SpanQueue {
    fn drop(&mut self) {
        self.spans.close();
        let mut count = 0;
        loop {
            match self.spans.try_recv() {
                Ok(_) => count += 1,
                // A thread has counted its span as held and is about to send it.
                Err(TryRecvError::Empty) => std::thread::yield_now(),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        if count > 0 {
            self.counts.fail(count, "there was no time left to send it");
        }
    }
}

/// A batch during its export. It counts as failed unless it is completed, because an exporter may panic.
struct BatchInFlight {
    counts: Arc<SpanCounts>,
    size: usize,
}

impl BatchInFlight {
    fn new(counts: &Arc<SpanCounts>, size: usize) -> Self {
        let counts = counts.clone();
        Self { counts, size }
    }

    /// Counts the spans of the batch. A failed export without a number of rejected spans has failed as a whole.
    fn complete(mut self, result: &OTelSdkResult, rejected: u64) {
        let size = std::mem::take(&mut self.size);
        match result {
            Ok(()) => self.counts.send(size),
            Err(error) => {
                let failed = match usize::try_from(rejected) {
                    Ok(0) | Err(_) => size,
                    Ok(rejected) => rejected.min(size),
                };
                self.counts.send(size - failed);
                self.counts.fail(failed, &error.to_string());
            }
        }
    }
}

impl Drop for BatchInFlight {
    fn drop(&mut self) {
        if self.size > 0 {
            self.counts.fail(self.size, "the exporter has panicked");
        }
    }
}
