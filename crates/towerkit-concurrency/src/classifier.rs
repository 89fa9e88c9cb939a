use std::{fmt, sync::Arc};

use towerkit_core::Call;

use crate::{Priority, PriorityClass};

/// Determines the [`PriorityClass`] of a call.
///
/// Implemented by [`SingleClass`], and by the function given to
/// [`ConcurrencyLimitLayer::classes`](crate::ConcurrencyLimitLayer::classes).
#[diagnostic::on_unimplemented(
    message = "the priority classes of this concurrency limit do not accept requests of type `{Req}`",
    label = "the function given to `.classes(..)` takes another type of request",
    note = "give `.classes(..)` a function of `&Call<'_, {Req}>`"
)]
pub trait ClassifyPriority<Req> {
    /// True if there is more than one class.
    const HAS_CLASSES: bool;

    /// Returns the class of a call.
    fn classify(&self, call: &Call<'_, Req>) -> PriorityClass;
}

/// Puts all calls into one class, as a [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer) does by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleClass;

impl<Req> ClassifyPriority<Req> for SingleClass {
    const HAS_CLASSES: bool = false;

    #[inline(always)]
    fn classify(&self, _call: &Call<'_, Req>) -> PriorityClass {
        PriorityClass::new(Priority::Critical)
    }
}

/// Classifies calls by a function of type `F`.
pub struct PriorityFn<F>(Arc<F>);

impl<F> PriorityFn<F> {
    pub(crate) fn new(classify: F) -> Self {
        Self(Arc::new(classify))
    }
}

impl<F> Clone for PriorityFn<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for PriorityFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PriorityFn")
    }
}

impl<Req, F, C> ClassifyPriority<Req> for PriorityFn<F>
where
    F: Fn(&Call<'_, Req>) -> C,
    C: Into<PriorityClass>,
{
    const HAS_CLASSES: bool = true;

    #[inline(always)]
    fn classify(&self, call: &Call<'_, Req>) -> PriorityClass {
        (self.0)(call).into()
    }
}
