use std::{fmt, time::Duration};

use towerkit_core::{CallEnd, Outcome, Status};

/// The header with the number of a retry, from 1, on every attempt but the first.
///
/// With [`RetryLayer::unless_retried`](crate::RetryLayer::unless_retried), a failure that is returned after retries carries it too:
/// the number of retries made.
pub const RETRY_ATTEMPT: &str = "x-retry-attempt";

/// The failed attempts of a call, in the extensions of its HTTP response.
///
/// A response has a report if the call was retried, or if a retryable failure was returned.
///
/// ```
/// use towerkit_retry::RetryReport;
/// # let response = http::Response::new(());
/// if let Some(report) = response.extensions().get::<RetryReport>() {
///     println!("failed attempts before this response: {:?}", report.failed_attempts());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryReport {
    pub(crate) failed_attempts: Vec<FailedAttempt>,
    pub(crate) give_up_reason: Option<GiveUpReason>,
}

impl RetryReport {
    /// Returns the attempts before the one that got this response, in order.
    #[must_use]
    pub fn failed_attempts(&self) -> &[FailedAttempt] {
        &self.failed_attempts
    }

    /// Returns why a retryable failure was not retried; `None` for any other response.
    #[must_use]
    pub fn give_up_reason(&self) -> Option<GiveUpReason> {
        self.give_up_reason
    }
}

/// An attempt that was followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The outcome, as far as the result tells.
    pub outcome: Outcome,
    /// The status of the response, if there was one.
    pub status: Option<Status>,
    /// The delay after the attempt.
    pub delay: Duration,
}

impl FailedAttempt {
    pub(crate) fn new(end: &CallEnd, delay: Duration) -> Self {
        Self {
            outcome: end.outcome(),
            status: end.status(),
            delay,
        }
    }
}

/// Why a retryable failure was returned to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUpReason {
    /// The call had used all of its [attempts](crate::RetryLayer::attempts).
    Attempts,
    /// The [`Budget`](crate::Budget) was used up.
    Budget,
    /// The delay would have exceeded the [`Deadline`](towerkit_core::Deadline) of the call.
    Deadline,
    /// The upstream asked for no retry, or for a delay above [`max_pushback`](crate::RetryLayer::max_pushback).
    Pushback,
    /// The request body was over its [limit](crate::RetryLayer::replay_up_to), or was still being read.
    Body,
    /// An inner tier had already retried the call, see [`unless_retried`](crate::RetryLayer::unless_retried).
    AlreadyRetried,
}

impl GiveUpReason {
    /// Returns the reason in `snake_case`, as events show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Pushback => "pushback",
            Self::Body => "body",
            Self::AlreadyRetried => "already_retried",
        }
    }
}

impl fmt::Display for GiveUpReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
