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
    rejected::Rejected,
    settings::{Settings, closed},
    tally::Tally,
};

/// Sends batch after batch, one at a time.
pub(crate) struct Worker<E> {
    pub(crate) exporter: E,
    pub(crate) rejected: Rejected,
    pub(crate) inbox: Inbox,
    pub(crate) settings: Settings,
    /// Notified when there is a batch.
    pub(crate) wake: Arc<Notify>,
    pub(crate) flushes: mpsc::UnboundedReceiver<SyncSender<OTelSdkResult>>,
    /// By when the last span has to be sent, once there is a shutdown.
    pub(crate) closing: watch::Receiver<Option<Instant>>,
}

enum Turn {
    Full,
    Late,
    Flush(SyncSender<OTelSdkResult>),
    Close,
}

impl<E: SpanExporter> Worker<E> {
    pub(crate) async fn run(mut self) -> OTelSdkResult {
        let mut next = Instant::now() + self.settings.delay;
        loop {
            match self.turn(next).await {
                Turn::Full => {
                    let _ = self.send(self.settings.batch.get()).await;
                }
                Turn::Late => {
                    let _ = self.send(1).await;
                    next = Instant::now() + self.settings.delay;
                }
                Turn::Flush(done) => {
                    let result = self.send(1).await;
                    let _ = done.send(result);
                }
                Turn::Close => return self.close().await,
            }
        }
    }

    async fn turn(&mut self, next: Instant) -> Turn {
        select! {
            biased;
            _ = self.closing.wait_for(Option::is_some) => Turn::Close,
            Some(done) = self.flushes.recv() => Turn::Flush(done),
            () = sleep_until(next) => Turn::Late,
            () = self.wake.notified() => Turn::Full,
        }
    }

    /// Sends what is there by now, in batches of at least so many spans; the first failure.
    async fn send(&mut self, least: usize) -> OTelSdkResult {
        let mut left = self.inbox.spans.len();
        let mut result = Ok(());
        while left >= least && !self.inbox.is_lost {
            let batch = self.inbox.take();
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
        let count = InFlight::new(&self.inbox.tally, batch.len());
        let limit = self.settings.timeout;
        let result = select! {
            biased;
            sent = timeout(limit, self.exporter.export(batch)) => {
                sent.unwrap_or(Err(OTelSdkError::Timeout(limit)))
            }
            () = closed(self.closing.clone()) => {
                self.inbox.is_lost = true;
                Err(OTelSdkError::Timeout(limit))
            }
        };
        count.end(&result, self.rejected.take());
        result
    }

    /// Sends the last spans, in what time there is; takes no more.
    async fn close(mut self) -> OTelSdkResult {
        self.inbox.spans.close();
        let mut result = self.send(1).await;
        if self.inbox.is_lost {
            // Perhaps by what was being sent before.
            result = Err(OTelSdkError::Timeout(self.settings.timeout));
        }
        let _ = self.exporter.shutdown();
        result
    }
}

/// The spans that wait. Those that are left when it is dropped have failed.
#[derive(Debug)]
pub(crate) struct Inbox {
    spans: mpsc::UnboundedReceiver<SpanData>,
    tally: Arc<Tally>,
    batch: usize,
    /// There is no time left to send any.
    is_lost: bool,
}

impl Inbox {
    pub(crate) fn new(
        spans: mpsc::UnboundedReceiver<SpanData>,
        tally: Arc<Tally>,
        batch: usize,
    ) -> Self {
        Self {
            spans,
            tally,
            batch,
            is_lost: false,
        }
    }

    fn take(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::with_capacity(self.batch.min(self.spans.len()));
        while batch.len() < self.batch
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
        batch
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.spans.close();
        let mut count = 0;
        loop {
            match self.spans.try_recv() {
                Ok(_) => count += 1,
                // A thread is about to put a span that it counts as held into the channel.
                Err(TryRecvError::Empty) => std::thread::yield_now(),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        if count > 0 {
            self.tally.fail(count, "there was no time left to send it");
        }
    }
}

/// A batch that is being sent, which has failed unless it is said to have arrived: the exporter may panic.
struct InFlight {
    tally: Arc<Tally>,
    count: usize,
}

impl InFlight {
    fn new(tally: &Arc<Tally>, count: usize) -> Self {
        let tally = tally.clone();
        Self { tally, count }
    }

    /// Counts the spans of the batch, of which the receiver has rejected some, none, or all.
    fn end(mut self, result: &OTelSdkResult, rejected: u64) {
        let count = std::mem::take(&mut self.count);
        match result {
            Ok(()) => self.tally.send(count),
            Err(error) => {
                let failed = match usize::try_from(rejected) {
                    Ok(0) | Err(_) => count,
                    Ok(rejected) => rejected.min(count),
                };
                self.tally.send(count - failed);
                self.tally.fail(failed, &error.to_string());
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.count > 0 {
            self.tally.fail(self.count, "the exporter has panicked");
        }
    }
}
