use std::{borrow::Cow, error::Error, fmt, io};

use towerkit_core::{CarriesRejection, ErrorCode, Rejection};
use towerkit_endpoint::{IntoRpcError, RpcError};

/// The error of a [`Probe`](crate::Probe). It can carry a rejection, and can be neither cloned nor compared.
#[derive(Debug)]
pub struct ProbeError(Cause);

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Panics,
    Rejected(Rejection),
}

impl ProbeError {
    pub(crate) const FAILED: &str = "the probe was told to fail";
    const UNREADY: &str = "the probe is never ready";

    pub(crate) fn failed() -> Self {
        Self(Cause::Io(io::Error::other(Self::FAILED)))
    }

    pub(crate) fn unready() -> Self {
        Self(Cause::Io(io::Error::other(Self::UNREADY)))
    }

    pub(crate) fn panics() -> Self {
        Self(Cause::Panics)
    }

    /// Returns true if this is the error of [`Action::Fail`](crate::Action::Fail).
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.to_string() == Self::FAILED
    }

    /// Returns true if this is the error of [`Probe::never_ready`](crate::Probe::never_ready).
    #[must_use]
    pub fn is_unready(&self) -> bool {
        self.to_string() == Self::UNREADY
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Io(error) => error.fmt(f),
            Cause::Panics => f.write_str("the error panics when it is asked"),
            Cause::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl Error for ProbeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        assert!(!matches!(self.0, Cause::Panics), "the error panics");
        None
    }
}

impl CarriesRejection for ProbeError {
    fn from_rejection(rejection: Rejection) -> Self {
        Self(Cause::Rejected(rejection))
    }

    fn rejection(&self) -> Option<&Rejection> {
        match &self.0 {
            Cause::Io(_) => None,
            Cause::Panics => panic!("the error panics"),
            Cause::Rejected(rejection) => Some(rejection),
        }
    }
}

impl IntoRpcError for ProbeError {
    fn code(&self) -> ErrorCode {
        // A code that a retry repeats, as it repeats an error without a code.
        ErrorCode::Unavailable
    }

    fn message(&self) -> Cow<'_, str> {
        self.to_string().into()
    }

    fn as_rpc_error(&self) -> Option<&RpcError> {
        None
    }
}
