use std::{error::Error, fmt, io};

use towerkit_core::{Refusable, Rejection};

/// The error of a [`Probe`](crate::Probe), which can neither be cloned nor compared, and can carry a refusal.
#[derive(Debug)]
pub struct ProbeError(Cause);

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Refused(Rejection),
}

impl ProbeError {
    const FAILED: &str = "the probe was told to fail";
    const UNREADY: &str = "the probe is never ready";

    pub(crate) fn failed() -> Self {
        Self(Cause::Io(io::Error::other(Self::FAILED)))
    }

    pub(crate) fn unready() -> Self {
        Self(Cause::Io(io::Error::other(Self::UNREADY)))
    }

    /// Whether this is the error of [`Act::Fail`](crate::Act::Fail).
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.to_string() == Self::FAILED
    }

    /// Whether this is the error of [`Probe::never_ready`](crate::Probe::never_ready).
    #[must_use]
    pub fn is_unready(&self) -> bool {
        self.to_string() == Self::UNREADY
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Io(error) => error.fmt(f),
            Cause::Refused(rejection) => rejection.fmt(f),
        }
    }
}

impl Error for ProbeError {}

impl Refusable for ProbeError {
    fn refused(rejection: Rejection) -> Self {
        Self(Cause::Refused(rejection))
    }

    fn rejection(&self) -> Option<&Rejection> {
        match &self.0 {
            Cause::Io(_) => None,
            Cause::Refused(rejection) => Some(rejection),
        }
    }
}
