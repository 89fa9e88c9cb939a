/// What became of the spans that ended so far.
///
/// Each is counted once: it is [held](Self::held), or was [sent](Self::sent), [dropped](Self::dropped), or [failed](Self::failed).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanExporterSnapshot {
    pub(crate) held: usize,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
    pub(crate) last_error: Option<String>,
}

impl SpanExporterSnapshot {
    /// Returns how many spans wait to be sent, or are being sent.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Returns how many spans the receiver has taken.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns how many spans found the queue full, or ended while the pipeline shut down.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns how many spans the receiver rejected, were in an export that failed or took too long, or were still held when the shutdown
    /// had no more time.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns how many spans will not arrive: the dropped, and the failed. An export that took too long may have arrived all the same.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.dropped + self.failed
    }

    /// Returns why the last export failed that did. It says the same as the exporter; its text may change.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}
