use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use crate::{
    PipelineError,
    config::{ExportConfig, shutdown_deadline},
    runtime::ExportRuntime,
    span_counts::{RejectedSpans, SpanCounts},
    worker::{SpanQueue, Worker},
};

/// The [`SpanProcessor`] of a pipeline: queues each span that ends without waiting, or drops it.
///
/// Clones share one queue.
#[derive(Debug, Clone)]
pub(crate) struct BatchProcessor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spans: mpsc::UnboundedSender<SpanData>,
    flushes: mpsc::UnboundedSender<SyncSender<OTelSdkResult>>,
    deadline: watch::Sender<Option<Instant>>,
    counts: Arc<SpanCounts>,
    batch_full: Arc<Notify>,
    batch_size: usize,
    /// The result of the worker, taken by the first shutdown.
    result: Mutex<Option<Receiver<OTelSdkResult>>>,
}

/// The time limit of [`SpanProcessor::force_flush`], which takes no limit as an argument.
const FORCE_FLUSH_LIMIT: Duration = Duration::from_secs(5);

impl BatchProcessor {
    /// Starts the [`Worker`] on the thread of `runtime`.
    pub(crate) fn start<E: SpanExporter + 'static>(
        runtime: ExportRuntime,
        exporter: E,
        config: ExportConfig,
        counts: Arc<SpanCounts>,
        rejected: RejectedSpans,
    ) -> Result<Self, PipelineError> {
        let (spans, queued) = mpsc::unbounded_channel();
        let (flushes, flush_requests) = mpsc::unbounded_channel();
        let (deadline, shutdown) = watch::channel(None);
        let (finish, result) = sync_channel(1);
        let batch_full = Arc::new(Notify::new());
        let batch_size = config.batch.get();
        let worker = Worker {
            exporter,
            rejected,
            queue: SpanQueue::new(queued, counts.clone(), batch_size),
            config,
            batch_full: batch_full.clone(),
            flushes: flush_requests,
            shutdown,
        };
        runtime.start(async move {
            let _ = finish.send(worker.run().await);
        })?;
        Ok(Self(Arc::new(Inner {
            spans,
            flushes,
            deadline,
            counts,
            batch_full,
            batch_size,
            result: Mutex::new(Some(result)),
        })))
    }

    /// Waits until the spans that have ended are exported.
    pub(crate) fn flush(&self, limit: Duration) -> OTelSdkResult {
        let (done, result) = sync_channel(1);
        if self.0.flushes.send(done).is_err() {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        wait_for(&result, limit)
    }
}

impl SpanProcessor for BatchProcessor {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let Some(held) = self.0.counts.hold() else {
            return;
        };
        if self.0.spans.send(span).is_err() {
            self.0.counts.drop_held();
        } else if held >= self.0.batch_size {
            self.0.batch_full.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(FORCE_FLUSH_LIMIT)
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        let result = self
            .0
            .result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(result) = result else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        self.0.deadline.send_replace(Some(shutdown_deadline(limit)));
        let result = wait_for(&result, limit);
        if matches!(result, Err(OTelSdkError::Timeout(_))) {
            // An exporter that blocks its thread keeps the worker from counting them.
            self.0.counts.give_up("there was no time left to send it");
        }
        result
    }
}

fn wait_for(result: &Receiver<OTelSdkResult>, limit: Duration) -> OTelSdkResult {
    match result.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(limit)),
        // The exporter has panicked, or the pipeline was shut down meanwhile.
        Err(RecvTimeoutError::Disconnected) => Err(OTelSdkError::AlreadyShutdown),
    }
}
