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
    engine::Engine,
    rejected::Rejected,
    settings::{Settings, until},
    tally::Tally,
    worker::{Inbox, Worker},
};

/// The processor between spans and their exporter: takes each span that ends, without waiting, or drops it.
///
/// Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Batch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spans: mpsc::UnboundedSender<SpanData>,
    flushes: mpsc::UnboundedSender<SyncSender<OTelSdkResult>>,
    closing: watch::Sender<Option<Instant>>,
    tally: Arc<Tally>,
    wake: Arc<Notify>,
    batch: usize,
    /// Taken by the first shutdown.
    ended: Mutex<Option<Receiver<OTelSdkResult>>>,
}

/// How long `force_flush` of the SDK waits, which says nothing of it.
const FLUSH: Duration = Duration::from_secs(5);

impl Batch {
    /// Starts to send.
    pub(crate) fn start<E: SpanExporter + 'static>(
        engine: Engine,
        exporter: E,
        settings: Settings,
        tally: Arc<Tally>,
        rejected: Rejected,
    ) -> Result<Self, PipelineError> {
        let (spans, taken) = mpsc::unbounded_channel();
        let (flushes, flushed) = mpsc::unbounded_channel();
        let (closing, closed) = watch::channel(None);
        let (end, ended) = sync_channel(1);
        let wake = Arc::new(Notify::new());
        let batch = settings.batch.get();
        let inbox = Inbox::new(taken, tally.clone(), batch);
        let worker = Worker {
            exporter,
            rejected,
            inbox,
            settings,
            wake: wake.clone(),
            flushes: flushed,
            closing: closed,
        };
        engine.start(async move {
            let result = worker.run().await;
            let _ = end.send(result);
        })?;
        let ended = Mutex::new(Some(ended));
        Ok(Self(Arc::new(Inner {
            spans,
            flushes,
            closing,
            tally,
            wake,
            batch,
            ended,
        })))
    }

    /// Waits until what has ended by now is sent.
    pub(crate) fn flush(&self, limit: Duration) -> OTelSdkResult {
        let (done, result) = sync_channel(1);
        if self.0.flushes.send(done).is_err() {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        waited(&result, limit)
    }
}

impl SpanProcessor for Batch {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let Some(held) = self.0.tally.hold() else {
            return;
        };
        if self.0.spans.send(span).is_err() {
            self.0.tally.drop_held();
        } else if held >= self.0.batch {
            self.0.wake.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(FLUSH)
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        let ended = self
            .0
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(ended) = ended else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        self.0.closing.send_replace(Some(until(limit)));
        let result = waited(&ended, limit);
        if matches!(result, Err(OTelSdkError::Timeout(_))) {
            // An exporter that blocks its thread lets nobody else count them.
            self.0.tally.give_up("there was no time left to send it");
        }
        result
    }
}

fn waited(result: &Receiver<OTelSdkResult>, limit: Duration) -> OTelSdkResult {
    match result.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(limit)),
        // The exporter has panicked, or there was a shutdown in between.
        Err(RecvTimeoutError::Disconnected) => Err(OTelSdkError::AlreadyShutdown),
    }
}
