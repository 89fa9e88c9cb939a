use std::{fmt, time::Duration};

use towerkit_core::{CallEnd, Outcome, Status};

/// The header that every attempt but the first carries: the number of the retry, from 1.
///
/// With [`RetryLayer::unless_retried`](crate::RetryLayer::unless_retried) also that of a failure that was given up: how many retries
/// there were.
pub const RETRY_ATTEMPT: &str = "x-retry-attempt";

/// How a call went that failed at first: over HTTP in the extensions of its response.
///
/// It is there if the call was tried more than once, or was given up.
///
/// ```
/// use towerkit_retry::RetryReport;
/// # let response = http::Response::new(());
/// if let Some(report) = response.extensions().get::<RetryReport>() {
///     println!("attempts that failed before: {:?}", report.failed());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryReport {
    pub(crate) failed: Vec<FailedAttempt>,
    pub(crate) gave_up: Option<GaveUp>,
}

impl RetryReport {
    /// Returns the attempts that came before the one whose response this is, in order.
    #[must_use]
    pub fn failed(&self) -> &[FailedAttempt] {
        &self.failed
    }

    /// Returns why a failure that was worth another attempt was given back; `None` of any other response.
    #[must_use]
    pub fn gave_up(&self) -> Option<GaveUp> {
        self.gave_up
    }
}

/// An attempt that was followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// How it ended, as far as its result told.
    pub outcome: Outcome,
    /// The code that the protocol gave, where there was one.
    pub status: Option<Status>,
    /// The pause after it.
    pub wait: Duration,
}

impl FailedAttempt {
    pub(crate) fn new(end: &CallEnd, wait: Duration) -> Self {
        Self {
            outcome: end.outcome(),
            status: end.status(),
            wait,
        }
    }
}

/// Why a failure that was worth another attempt was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GaveUp {
    /// There had been as many attempts as there may be.
    Attempts,
    /// The budget was used up.
    Budget,
    /// The pause would have lasted beyond the deadline.
    Deadline,
    /// The callee asked for no retry, or for a longer pause than is waited for.
    Pushback,
    /// The request body was over the cap, or still being read.
    Body,
    /// The call had been retried by a tier behind.
    Retried,
}

impl GaveUp {
    /// Returns the reason in `snake_case`, as events show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Pushback => "pushback",
            Self::Body => "body",
            Self::Retried => "retried",
        }
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
