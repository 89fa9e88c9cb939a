use http::{HeaderMap, StatusCode};
use towerkit_core::{ByResult, ErrorCode, Outcome, RejectionReason};

use crate::ResponseHead;

/// Classifies calls by the head of their response.
pub trait ClassifyHead {
    /// Returns the outcome of the call, if its body is complete.
    fn classify(&self, head: ResponseHead<'_>) -> Outcome;
}

impl<F: Fn(ResponseHead<'_>) -> Outcome> ClassifyHead for F {
    #[inline(always)]
    fn classify(&self, head: ResponseHead<'_>) -> Outcome {
        self(head)
    }
}

/// Classifies calls by their [`StatusCode`].
///
/// Below 400 is a [success](Outcome::Success), 429 and 503 are [overloaded](Outcome::Overloaded), 499 is
/// [cancelled](Outcome::Cancelled), 504 has [timed out](Outcome::TimedOut). Any other 4xx is a [client error](Outcome::ClientError),
/// and any other 5xx a [failure](Outcome::Failure).
#[derive(Debug, Clone, Copy, Default)]
pub struct ByStatus;

impl ClassifyHead for ByStatus {
    #[inline(always)]
    fn classify(&self, head: ResponseHead<'_>) -> Outcome {
        outcome_of_status(head.status)
    }
}

#[inline(always)]
pub(crate) fn outcome_of_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        ..400 => Outcome::Success,
        429 | 503 => Outcome::Overloaded,
        499 => Outcome::Cancelled,
        504 => Outcome::TimedOut,
        // 408 as well: the client was slow, and not the server.
        400..500 => Outcome::ClientError,
        500.. => Outcome::Failure,
    }
}

/// Returns the outcome of a gRPC code.
pub(crate) fn outcome_of_code(code: u16) -> Outcome {
    match (code, ErrorCode::from_number(code)) {
        (OK, _) => Outcome::Success,
        (_, Some(code)) => code.outcome(),
        (_, None) => Outcome::Failure,
    }
}

pub(crate) const OK: u16 = 0;
pub(crate) const UNKNOWN: u16 = 2;

/// Returns the gRPC code in trailers: `UNKNOWN` if it is absent or invalid.
pub(crate) fn code_in(trailers: &HeaderMap) -> u16 {
    code_if_any(trailers).unwrap_or(UNKNOWN)
}

/// Returns the gRPC code in headers or trailers, if there is one; `UNKNOWN` if it is invalid.
pub(crate) fn code_if_any(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get("grpc-status")?;
    Some(parse_code(value.as_bytes()).unwrap_or(UNKNOWN))
}

/// Parses one of the 17 gRPC codes.
fn parse_code(text: &[u8]) -> Option<u16> {
    let code = match *text {
        [ones @ b'0'..=b'9'] => ones - b'0',
        [b'1', ones @ b'0'..=b'6'] => 10 + ones - b'0',
        _ => return None,
    };
    Some(code.into())
}

/// Returns the gRPC code of a plain HTTP response, such as one of a proxy ("HTTP to gRPC Status Code Mapping" of gRPC).
#[doc(hidden)]
#[must_use]
pub fn code_of_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}

/// Returns the outcome of the error of a body: that of a rejection, or else a failure.
pub(crate) fn outcome_of_body_error<E: 'static>(error: &E) -> (Outcome, Option<RejectionReason>) {
    match axum_body::rejection(error) {
        Some(reason) => (reason.outcome(), Some(reason)),
        None => ByResult::of_error(error),
    }
}

#[cfg(feature = "axum")]
mod axum_body {
    use std::any::Any;

    use towerkit_core::{Rejection, RejectionReason, causes};

    /// Finds a rejection in an [`axum::Error`], in which axum boxes every error of a body.
    pub(super) fn rejection(error: &dyn Any) -> Option<RejectionReason> {
        let rejection = causes(error.downcast_ref::<axum::Error>()?)
            .find_map(|cause| cause.downcast_ref::<Rejection>())?;
        Some(rejection.reason())
    }
}

#[cfg(not(feature = "axum"))]
mod axum_body {
    use std::any::Any;

    use towerkit_core::RejectionReason;

    pub(super) fn rejection(_error: &dyn Any) -> Option<RejectionReason> {
        None
    }
}

/// Returns the HTTP status of a rejection.
pub(crate) fn status_of(reason: RejectionReason) -> StatusCode {
    let status = ErrorCode::from(reason).http_status();
    StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// Returns the gRPC code of a rejection.
pub(crate) fn code_of(reason: RejectionReason) -> u16 {
    ErrorCode::from(reason).number()
}

#[cfg(test)]
mod tests {
    use towerkit_core::{BoxError, Rejection};

    use super::*;

    #[test]
    fn every_status_has_the_outcome_of_the_table() {
        let expected = |status: u16| match status {
            100..=399 => Outcome::Success,
            429 | 503 => Outcome::Overloaded,
            499 => Outcome::Cancelled,
            504 => Outcome::TimedOut,
            400..=499 => Outcome::ClientError,
            _ => Outcome::Failure,
        };
        for status in 100..=999 {
            let code = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome_of_status(code), expected(status), "{status}");
        }
    }

    #[test]
    fn a_rejection_in_a_body_error_has_its_outcome() {
        let rejection = || Rejection::new(RejectionReason::DeadlineExceeded, "test");
        let timed_out = (Outcome::TimedOut, Some(RejectionReason::DeadlineExceeded));
        assert_eq!(outcome_of_body_error(&rejection()), timed_out);
        assert_eq!(
            outcome_of_body_error(&BoxError::from(rejection())),
            timed_out
        );
        assert_eq!(outcome_of_body_error(&"reset"), (Outcome::Failure, None));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(outcome_of_body_error(&reset), (Outcome::Failure, None));
    }

    #[cfg(feature = "axum")]
    #[test]
    fn a_rejection_is_found_in_an_error_of_axum() {
        let rejected = Rejection::new(RejectionReason::DeadlineExceeded, "test");
        let wrapped = axum::Error::new(std::io::Error::other("reset"));
        assert_eq!(outcome_of_body_error(&wrapped), (Outcome::Failure, None));
        let wrapped = axum::Error::new(rejected);
        assert_eq!(outcome_of_body_error(&wrapped).0, Outcome::TimedOut);
    }

    #[test]
    fn every_code_has_the_outcome_of_the_table() {
        let table = [
            (0, Outcome::Success),
            (1, Outcome::Cancelled),
            (2, Outcome::Failure),
            (3, Outcome::ClientError),
            (4, Outcome::TimedOut),
            (5, Outcome::ClientError),
            (6, Outcome::ClientError),
            (7, Outcome::ClientError),
            (8, Outcome::Overloaded),
            (9, Outcome::ClientError),
            (10, Outcome::ClientError),
            (11, Outcome::ClientError),
            (12, Outcome::Failure),
            (13, Outcome::Failure),
            (14, Outcome::Overloaded),
            (15, Outcome::Failure),
            (16, Outcome::ClientError),
            (17, Outcome::Failure),
        ];
        for (code, outcome) in table {
            assert_eq!(outcome_of_code(code), outcome, "{code}");
        }
    }

    #[test]
    fn every_reason_has_the_status_and_code_of_the_table() {
        let table = [
            (RejectionReason::RateLimited, 429, 8),
            (RejectionReason::CircuitOpen, 503, 14),
            (RejectionReason::Overloaded, 503, 14),
            (RejectionReason::DeadlineExceeded, 504, 4),
            (RejectionReason::Unauthenticated, 401, 16),
            (RejectionReason::Forbidden, 403, 7),
            (RejectionReason::Unavailable, 503, 14),
            (RejectionReason::InsufficientCapacity, 429, 8),
        ];
        assert_eq!(table.map(|(reason, ..)| reason), RejectionReason::ALL);
        for (reason, status, code) in table {
            assert_eq!(status_of(reason).as_u16(), status, "{reason}");
            assert_eq!(code_of(reason), code, "{reason}");
            assert_eq!(
                outcome_of_status(status_of(reason)),
                reason.outcome(),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_status_without_a_code_maps_as_grpc_says() {
        let table = [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (500, 2),
            (302, 2),
        ];
        for (status, code) in table {
            assert_eq!(code_of_status(StatusCode::from_u16(status).unwrap()), code);
        }
    }
}
