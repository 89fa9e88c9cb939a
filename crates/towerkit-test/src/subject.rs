use std::fmt;

/// A layer under test, and the number of resources that its calls hold.
pub struct Subject<L> {
    /// The layer.
    pub layer: L,
    resources: Box<dyn Fn() -> i64>,
}

impl<L> Subject<L> {
    /// Tests a layer that does not show its resources. The probe still counts calls.
    pub fn new(layer: L) -> Self {
        Self {
            layer,
            resources: Box::new(|| 0),
        }
    }

    /// Counts the resources in use by `count`: permits, slots, calls in flight. The number at the start is the baseline.
    #[must_use]
    pub fn count_resources(mut self, count: impl Fn() -> i64 + 'static) -> Self {
        self.resources = Box::new(count);
        self
    }

    /// Returns the number of resources in use.
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

/// A layer under test with a guard that applies [backpressure](towerkit_core::Guard::backpressure) on demand.
pub struct BackpressureSubject<L> {
    pub(crate) subject: Subject<L>,
    pub(crate) close: Box<dyn Fn()>,
    pub(crate) open: Box<dyn Fn()>,
}

impl<L> BackpressureSubject<L> {
    /// Tests a layer that rejects calls after `close`, and admits at least one call at a time after `open`.
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
