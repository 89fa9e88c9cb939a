use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

/// A failed request of a [`RegistryClient`](crate::RegistryClient).
#[derive(Debug, Clone)]
pub struct RegistryClientError {
    /// The server without a path.
    origin: Arc<str>,
    failure: Failure,
}

#[derive(Debug, Clone)]
pub(super) enum Failure {
    Unreachable(Arc<str>),
    TimedOut(Duration),
    TooLarge,
    Status(StatusCode, Arc<str>),
    Json(Arc<str>),
}

impl RegistryClientError {
    pub(super) fn new(origin: &Arc<str>, failure: Failure) -> Self {
        Self {
            origin: origin.clone(),
            failure,
        }
    }

    /// Returns the status of the response, if that is the error.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.failure {
            Failure::Status(status, _) => Some(status),
            _ => None,
        }
    }

    /// Returns true if the server has answered, and will answer the same until its data or the request change.
    ///
    /// After such an error a source calls [`Pacer::refused`](crate::Pacer::refused).
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self.failure {
            Failure::Unreachable(_) | Failure::TimedOut(_) => false,
            Failure::TooLarge | Failure::Json(_) => true,
            Failure::Status(status, _) => status.is_client_error(),
        }
    }
}

impl fmt::Display for RegistryClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match &self.failure {
            Failure::Unreachable(cause) => write!(f, "{origin} is not reachable: {cause}"),
            Failure::TimedOut(limit) => write!(f, "{origin} did not answer within {limit:?}"),
            Failure::TooLarge => write!(f, "the response of {origin} is larger than 16 MiB"),
            Failure::Status(status, text) if text.is_empty() => {
                write!(f, "{origin} answered {}", status.as_u16())
            }
            Failure::Status(status, text) => {
                write!(f, "{origin} answered {}: {text}", status.as_u16())
            }
            Failure::Json(cause) => write!(f, "the response of {origin} is invalid: {cause}"),
        }
    }
}

impl Error for RegistryClientError {}
