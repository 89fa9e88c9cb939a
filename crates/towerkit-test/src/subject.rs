use std::fmt;

/// A layer under test, and what it holds right now.
pub struct Subject<L> {
    /// The layer.
    pub layer: L,
    resources: Box<dyn Fn() -> i64>,
}

impl<L> Subject<L> {
    /// Tests a layer that lets no one see what it holds; the probe still sees what becomes of calls.
    pub fn new(layer: L) -> Self {
        Self {
            layer,
            resources: Box::new(|| 0),
        }
    }

    /// Counts what is held at the moment: permits, slots, calls in flight. Whatever it is at the start is the baseline.
    #[must_use]
    pub fn count_resources(mut self, count: impl Fn() -> i64 + 'static) -> Self {
        self.resources = Box::new(count);
        self
    }

    /// Returns what is held at the moment.
    #[must_use]
    pub fn resource_count(&self) -> i64 {
        (self.resources)()
    }
}

impl<L> fmt::Debug for Subject<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("resources", &self.resource_count())
            .finish_non_exhaustive()
    }
}

/// A layer under test whose guards can be made to hold it back, as a load balancer wants it.
pub struct BackpressureSubject<L> {
    pub(crate) subject: Subject<L>,
    pub(crate) close: Box<dyn Fn()>,
    pub(crate) open: Box<dyn Fn()>,
}

impl<L> BackpressureSubject<L> {
    /// Tests a layer that `close` makes reject calls, until `open` lets them in again, one at a time at least.
    pub fn new(subject: Subject<L>, close: impl Fn() + 'static, open: impl Fn() + 'static) -> Self {
        Self {
            subject,
            close: Box::new(close),
            open: Box::new(open),
        }
    }
}

impl<L> fmt::Debug for BackpressureSubject<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackpressureSubject")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
