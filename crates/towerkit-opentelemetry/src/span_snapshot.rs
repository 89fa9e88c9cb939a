/// The counts of the spans that have ended; returned by [`SpanExporterHandle::snapshot`](crate::SpanExporterHandle::snapshot).
///
/// Each span is counted once: as [held](Self::held), [sent](Self::sent), [dropped](Self::dropped) or [failed](Self::failed).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanExporterSnapshot {
    pub(crate) held: usize,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
    pub(crate) last_error: Option<String>,
}

impl SpanExporterSnapshot {
    /// Returns the number of spans that wait in the queue or are being sent.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Returns the number of spans that the receiver accepted.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the number of spans that ended while the queue was full or the pipeline was shutting down.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of spans that the receiver rejected, whose export failed or timed out, or that were held at the end of a
    /// [`shutdown`](crate::SpanExporterHandle::shutdown).
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns the number of lost spans: [dropped](Self::dropped) and [failed](Self::failed). The spans of a timed-out export may
    /// have arrived.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.dropped + self.failed
    }

    /// Returns the error of the last failed export. Its text comes from the exporter and may change.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}
