use std::{fmt, sync::Arc};

use towerkit_core::CallEnd;

/// A fallback response that is available at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no fallback for a service with the result `Result<{T}, {E}>`",
    label = "not of the service's response type",
    note = "a value has to be `Clone` and of the service's response type",
    note = "a function takes `(Result<{T}, {E}>, &towerkit_core::CallEnd)` and returns `Result<{T}, {E}>`"
)]
pub trait FallbackResponse<T, E> {
    /// Makes the result of a failed call.
    ///
    /// # Errors
    ///
    /// Returns an error if the fallback has no response either.
    fn respond(&self, failed: Result<T, E>, end: &CallEnd) -> Result<T, E>;
}

/// Responds with a value; see [`FallbackLayer::value`](crate::FallbackLayer::value).
pub struct ByValue<V>(Arc<V>);

/// Responds with the result of a function; see [`FallbackLayer::function`](crate::FallbackLayer::function).
pub struct ByFunction<F>(Arc<F>);

/// Calls another service; see [`FallbackLayer::service`](crate::FallbackLayer::service).
#[derive(Debug, Clone)]
pub struct ByService<O> {
    pub(crate) service: O,
    pub(crate) replay_up_to: usize,
}

/// Omits the response, which may hold a cookie.
impl<V> fmt::Debug for ByValue<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByValue").finish_non_exhaustive()
    }
}

impl<V> ByValue<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Arc::new(value))
    }
}

impl<F> ByFunction<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Arc::new(function))
    }
}

impl<O> ByService<O> {
    pub(crate) fn new(service: O) -> Self {
        Self {
            service,
            replay_up_to: 65_536,
        }
    }
}

impl<V> Clone for ByValue<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Clone for ByFunction<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for ByFunction<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByFunction").finish_non_exhaustive()
    }
}

impl<V: Clone, E> FallbackResponse<V, E> for ByValue<V> {
    fn respond(&self, _failed: Result<V, E>, _end: &CallEnd) -> Result<V, E> {
        Ok(V::clone(&self.0))
    }
}

impl<F, T, E> FallbackResponse<T, E> for ByFunction<F>
where
    F: Fn(Result<T, E>, &CallEnd) -> Result<T, E>,
{
    fn respond(&self, failed: Result<T, E>, end: &CallEnd) -> Result<T, E> {
        (self.0)(failed, end)
    }
}
