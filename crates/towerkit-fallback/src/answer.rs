use std::{fmt, sync::Arc};

use towerkit_core::CallEnd;

/// Another answer that is there at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no fallback for a service that answers `Result<{T}, {E}>`",
    label = "answers with something else than the service",
    note = "a value has to be `Clone` and of the service's response type",
    note = "a function takes `(Result<{T}, {E}>, &towerkit_core::CallEnd)` and returns `Result<{T}, {E}>`"
)]
pub trait Substitute<T, E> {
    /// Makes the answer to a call that ended so.
    ///
    /// # Errors
    ///
    /// Where there is no answer either.
    fn substitute(&self, failed: Result<T, E>, end: &CallEnd) -> Result<T, E>;
}

/// Answers with a value; see [`FallbackLayer::value`](crate::FallbackLayer::value).
pub struct Value<V>(Arc<V>);

/// Answers with what a function returns; see [`FallbackLayer::function`](crate::FallbackLayer::function).
pub struct Function<F>(Arc<F>);

/// Answers with what another service answers; see [`FallbackLayer::service`](crate::FallbackLayer::service).
#[derive(Debug, Clone)]
pub struct Other<O> {
    pub(crate) service: O,
    pub(crate) replay_up_to: usize,
}

/// Shows nothing of the answer, which may hold a cookie.
impl<V> fmt::Debug for Value<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").finish_non_exhaustive()
    }
}

impl<V> Value<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Arc::new(value))
    }
}

impl<F> Function<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Arc::new(function))
    }
}

impl<O> Other<O> {
    pub(crate) fn new(service: O) -> Self {
        Self {
            service,
            replay_up_to: 65_536,
        }
    }
}

impl<V> Clone for Value<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Clone for Function<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").finish_non_exhaustive()
    }
}

impl<V: Clone, E> Substitute<V, E> for Value<V> {
    fn substitute(&self, _failed: Result<V, E>, _end: &CallEnd) -> Result<V, E> {
        Ok(V::clone(&self.0))
    }
}

impl<F, T, E> Substitute<T, E> for Function<F>
where
    F: Fn(Result<T, E>, &CallEnd) -> Result<T, E>,
{
    fn substitute(&self, failed: Result<T, E>, end: &CallEnd) -> Result<T, E> {
        (self.0)(failed, end)
    }
}
