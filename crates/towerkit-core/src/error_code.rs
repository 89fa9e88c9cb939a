use std::fmt;

use crate::{Outcome, RejectionReason, Status};

/// The code of an error: the sixteen codes of [gRPC](https://grpc.io/docs/guides/status-codes/) other than `OK`.
///
/// Every transport has a form for each of them, so that one error type serves all transports. The tables are those of gRPC, of
/// [`google.rpc.Code`] for HTTP statuses, and of the specification of [Connect] for names.
///
/// ```
/// use towerkit_core::{ErrorCode, Outcome};
///
/// let code = ErrorCode::NotFound;
/// assert_eq!(code.as_str(), "not_found");
/// assert_eq!(code.http_status(), 404);
/// assert_eq!(code.number(), 5);
/// assert_eq!(code.outcome(), Outcome::ClientError);
/// assert_eq!("not_found".parse(), Ok(code));
/// ```
///
/// [`google.rpc.Code`]: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
/// [Connect]: https://connectrpc.com/docs/protocol#error-codes
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// The caller cancelled the call.
    Cancelled = 1,
    /// The error has no code, or one that the other side does not know.
    Unknown = 2,
    /// The request is invalid, whatever the state of the service.
    InvalidArgument = 3,
    /// The deadline passed before the call ended.
    DeadlineExceeded = 4,
    /// The requested resource does not exist.
    NotFound = 5,
    /// The resource to create exists already.
    AlreadyExists = 6,
    /// The caller is known and lacks the permission.
    PermissionDenied = 7,
    /// A quota or a capacity is exhausted.
    ResourceExhausted = 8,
    /// The state of the service does not allow the operation, and must change before a retry.
    FailedPrecondition = 9,
    /// A concurrent operation conflicts with this one.
    Aborted = 10,
    /// The operation goes past a valid range, which may grow.
    OutOfRange = 11,
    /// The service does not have the operation.
    Unimplemented = 12,
    /// The service is broken.
    Internal = 13,
    /// The service is unavailable for now; a retry may succeed.
    Unavailable = 14,
    /// Data is lost for good.
    DataLoss = 15,
    /// The request has no valid credentials.
    Unauthenticated = 16,
}

impl ErrorCode {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Returns the number of the code, 1 to 16, as `grpc-status` has it.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns the code with this number; `None` for 0, which is `OK`, and for numbers above 16.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1..=16 => Some(Self::ALL[number as usize - 1]),
            _ => None,
        }
    }

    /// Returns the code in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid_argument",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::ResourceExhausted => "resource_exhausted",
            Self::FailedPrecondition => "failed_precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out_of_range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// Returns the outcome of a call that ends with this code.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Cancelled => Outcome::Cancelled,
            Self::DeadlineExceeded => Outcome::TimedOut,
            Self::ResourceExhausted | Self::Unavailable => Outcome::Overloaded,
            Self::InvalidArgument
            | Self::NotFound
            | Self::AlreadyExists
            | Self::PermissionDenied
            | Self::FailedPrecondition
            | Self::Aborted
            | Self::OutOfRange
            | Self::Unauthenticated => Outcome::ClientError,
            Self::Unknown | Self::Unimplemented | Self::Internal | Self::DataLoss => {
                Outcome::Failure
            }
        }
    }

    /// Returns the number of a [JSON-RPC error](https://www.jsonrpc.org/specification#error_object) for this code.
    ///
    /// Three codes have the numbers of the specification: -32601 for an unknown method, -32602 for invalid parameters and -32603 for an
    /// internal error. The number of any other code is -32000 less its [number](Self::number).
    #[must_use]
    pub const fn json_rpc_number(self) -> i16 {
        match self {
            Self::Unimplemented => -32601,
            Self::InvalidArgument => -32602,
            Self::Internal => -32603,
            code => -32000 - code.number().cast_signed(),
        }
    }

    /// Returns the HTTP status of a response for this code.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Cancelled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
        }
    }

    /// Returns the code of a response with this HTTP status and without a code of its own.
    ///
    /// It has the outcome that the status has over HTTP. Each status of [`http_status`](Self::http_status) leads back to the most
    /// general code that has it.
    #[must_use]
    pub const fn from_http_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 | 410 => Self::NotFound,
            409 => Self::Aborted,
            412 => Self::FailedPrecondition,
            416 => Self::OutOfRange,
            429 => Self::ResourceExhausted,
            499 => Self::Cancelled,
            400..=498 => Self::InvalidArgument,
            500 => Self::Internal,
            501 => Self::Unimplemented,
            503 => Self::Unavailable,
            504 => Self::DeadlineExceeded,
            _ => Self::Unknown,
        }
    }

    /// Returns the status of a call that ends with this code.
    #[must_use]
    pub const fn status(self) -> Status {
        Status::Grpc(self.number())
    }
}

/// The code of the response to a rejected call.
impl From<RejectionReason> for ErrorCode {
    fn from(reason: RejectionReason) -> Self {
        match reason {
            RejectionReason::RateLimited | RejectionReason::InsufficientCapacity => {
                Self::ResourceExhausted
            }
            RejectionReason::Unauthenticated => Self::Unauthenticated,
            RejectionReason::Forbidden => Self::PermissionDenied,
            RejectionReason::DeadlineExceeded => Self::DeadlineExceeded,
            RejectionReason::CircuitOpen
            | RejectionReason::Overloaded
            | RejectionReason::Unavailable => Self::Unavailable,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a code as [`as_str`](ErrorCode::as_str) writes it.
impl std::str::FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    fn from_str(text: &str) -> Result<Self, UnknownErrorCode> {
        let mut all = Self::ALL.into_iter();
        all.find(|code| code.as_str() == text)
            .ok_or(UnknownErrorCode(()))
    }
}

/// The error of text that is the name of no [`ErrorCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownErrorCode(());

impl fmt::Display for UnknownErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of an error code")
    }
}

impl std::error::Error for UnknownErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of gRPC, `google.rpc.Code` and the semantic conventions.
    #[test]
    fn every_code_has_the_number_the_outcome_and_the_status_of_the_table() {
        use Outcome::{Cancelled, ClientError, Failure, Overloaded, TimedOut};
        let table = [
            (1, "cancelled", Cancelled, 499),
            (2, "unknown", Failure, 500),
            (3, "invalid_argument", ClientError, 400),
            (4, "deadline_exceeded", TimedOut, 504),
            (5, "not_found", ClientError, 404),
            (6, "already_exists", ClientError, 409),
            (7, "permission_denied", ClientError, 403),
            (8, "resource_exhausted", Overloaded, 429),
            (9, "failed_precondition", ClientError, 400),
            (10, "aborted", ClientError, 409),
            (11, "out_of_range", ClientError, 400),
            (12, "unimplemented", Failure, 501),
            (13, "internal", Failure, 500),
            (14, "unavailable", Overloaded, 503),
            (15, "data_loss", Failure, 500),
            (16, "unauthenticated", ClientError, 401),
        ];
        for (number, name, outcome, status) in table {
            let code = ErrorCode::from_number(number).unwrap();
            assert_eq!(code.number(), number);
            assert_eq!(code.as_str(), name);
            assert_eq!(name.parse(), Ok(code));
            assert_eq!(code.outcome(), outcome, "{name}");
            assert_eq!(code.http_status(), status, "{name}");
            let grpc_name = code.status().grpc_name().unwrap();
            assert_eq!(grpc_name.to_lowercase(), name);
        }
        assert_eq!(ErrorCode::from_number(0), None);
        assert_eq!(ErrorCode::from_number(17), None);
        assert!("OK".parse::<ErrorCode>().is_err());
    }

    #[test]
    fn a_code_that_went_over_http_keeps_its_outcome() {
        for code in ErrorCode::ALL {
            let back = ErrorCode::from_http_status(code.http_status());
            assert_eq!(back.http_status(), code.http_status(), "{code}");
            assert_eq!(back.outcome(), code.outcome(), "{code}");
        }
    }

    #[test]
    fn the_code_of_a_rejection_has_the_outcome_of_its_reason() {
        for reason in RejectionReason::ALL {
            assert_eq!(
                ErrorCode::from(reason).outcome(),
                reason.outcome(),
                "{reason}"
            );
        }
    }
}
