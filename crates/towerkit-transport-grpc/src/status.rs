use std::{error::Error, sync::Arc, time::Duration};

use h2::Reason;
use http::StatusCode;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use towerkit_core::{CarriesRejection, ErrorCode, Rejection, causes};
use towerkit_endpoint::{IntoRpcError, RpcError};
use towerkit_http::{
    CommonErrors, InspectError, code_of_status, header_pair, is_refused_stream, pushback_value,
};

const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The limit of an encoded message, in bytes. Many peers accept 8 KiB of headers in all.
const MAX_MESSAGE: usize = 4096;

/// Converts an error into a [`Status`]: the code, the message, and the time after which a retry may succeed.
///
/// The time is sent as [`grpc-retry-pushback-ms`]. A message that is longer than 4 KiB when it is percent-encoded is cut. The error
/// becomes the source of the status, which is not sent; a layer with `.grpc()` around the service finds a
/// [`Rejection`] there.
///
/// ```
/// use std::time::Duration;
/// use towerkit_core::ErrorCode;
/// use towerkit_endpoint::RpcError;
/// use towerkit_transport_grpc::status;
///
/// let error = RpcError::new(ErrorCode::Unavailable, "closed for lunch").with_retry_after(Duration::from_secs(3600));
/// let status = status(error);
/// assert_eq!(status.code(), tonic::Code::Unavailable);
/// assert_eq!(status.message(), "closed for lunch");
/// assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "3600000");
/// ```
///
/// [`grpc-retry-pushback-ms`]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
pub fn status(error: impl IntoRpcError) -> Status {
    let error = error.into_rpc_error();
    let code = Code::from_i32(error.code().number().into());
    let mut status = Status::new(code, cut(&error.message()));
    let headers = status.metadata_mut().as_mut();
    if let Some(rejection) = error.rejection() {
        let valid = rejection.headers();
        for (name, value) in valid.filter_map(|(name, value)| header_pair(name, value)) {
            headers.append(name, value);
        }
    }
    if let Some(wait) = error.retry_after() {
        headers.insert(PUSHBACK, pushback_value(wait));
    }
    status.set_source(Arc::new(error));
    status
}

/// Converts a [`Status`] that a client got into an error.
///
/// A status from the wire keeps its code and its message; its [`grpc-retry-pushback-ms`] is the time after which a retry may succeed,
/// and [`Duration::MAX`] if the server asks for no retry. A status of the client's own transport is
/// [`Unavailable`](ErrorCode::Unavailable), or [`DeadlineExceeded`](ErrorCode::DeadlineExceeded) if tonic's timer ended the call. It is
/// [unsent](RpcError::unsent) if the connection failed, or if the server refused the HTTP/2 stream. The status is the source of the
/// error, with its metadata and details.
///
/// ```
/// use towerkit_core::ErrorCode;
/// use towerkit_endpoint::IntoRpcError;
/// use towerkit_transport_grpc::rpc_error;
///
/// let error = rpc_error(tonic::Status::not_found("no such profile"));
/// assert_eq!(error.code(), ErrorCode::NotFound);
/// assert_eq!(error.message(), "no such profile");
/// ```
///
/// [`grpc-retry-pushback-ms`]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
#[must_use]
pub fn rpc_error(status: Status) -> RpcError {
    // Only a status that was made in this process has a source.
    if status.source().is_some() {
        return local_error(status);
    }
    let error = RpcError::new(code_of(&status), status.message().to_owned());
    let error = match pushback(&status) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    };
    error.with_source(status)
}

/// Converts a status of this process: one of the transport, or of a layer around it.
fn local_error(status: Status) -> RpcError {
    if let Some(error) = causes(&status).find_map(<dyn Error>::downcast_ref::<RpcError>) {
        return error.clone();
    }
    if let Some(rejection) = causes(&status).find_map(<dyn Error>::downcast_ref::<Rejection>) {
        return rejection.clone().into();
    }
    if causes(&status).any(<dyn Error>::is::<TimeoutExpired>) {
        return deadline_exceeded().with_source(status);
    }
    // The texts of transports have addresses in them.
    let unavailable = || RpcError::new(ErrorCode::Unavailable, "the upstream is unavailable");
    if causes(&status).any(is_unsent) {
        return unavailable().unsent().with_source(status);
    }
    match code_of(&status) {
        ErrorCode::Cancelled if causes(&status).any(is_cancelled_stream) => {
            RpcError::new(ErrorCode::Cancelled, "cancelled by the upstream").with_source(status)
        }
        // With these tonic reports a connection that ended; with `Cancelled`, one that ended before the call.
        ErrorCode::Unknown | ErrorCode::Cancelled | ErrorCode::Unavailable => {
            unavailable().with_source(status)
        }
        code => RpcError::new(code, status.message().to_owned()).with_source(status),
    }
}

pub(crate) fn deadline_exceeded() -> RpcError {
    RpcError::new(ErrorCode::DeadlineExceeded, "deadline exceeded")
}

/// Returns the status of a response without one, such as that of a proxy ([HTTP to gRPC Status Code Mapping]).
///
/// [HTTP to gRPC Status Code Mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
pub(crate) fn http_status(status: StatusCode) -> Status {
    let code = Code::from_i32(code_of_status(status).into());
    Status::new(code, format!("HTTP status {status} without a gRPC status"))
}

fn code_of(status: &Status) -> ErrorCode {
    ErrorCode::from_number(status.code() as u16).unwrap_or(ErrorCode::Unknown)
}

/// Returns true if a cause proves that the server did not process the request.
fn is_unsent(cause: &(dyn Error + 'static)) -> bool {
    let is_connect_error = <CommonErrors as InspectError<Status>>::is_unsent;
    cause.is::<ConnectError>()
        || is_connect_error(cause)
        || cause.downcast_ref().is_some_and(is_refused_stream)
}

fn is_cancelled_stream(cause: &(dyn Error + 'static)) -> bool {
    let is_cancelled =
        |error: &h2::Error| error.is_remote() && error.reason() == Some(Reason::CANCEL);
    cause.downcast_ref().is_some_and(is_cancelled)
}

/// Returns the time that the server asks to wait. Any value that is no number means that it asks for no retry (gRPC proposal A6).
fn pushback(status: &Status) -> Option<Duration> {
    let value = status.metadata().get(PUSHBACK)?;
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(milliseconds.map_or(Duration::MAX, |number: u32| {
        Duration::from_millis(number.into())
    }))
}

/// Cuts a message so that it has at most [`MAX_MESSAGE`] bytes once it is percent-encoded.
fn cut(message: &str) -> &str {
    let mut encoded = 0;
    for (at, character) in message.char_indices() {
        // A byte of any other character may become three.
        let is_plain = character.is_ascii_alphanumeric();
        encoded += if is_plain {
            1
        } else {
            3 * character.len_utf8()
        };
        if encoded > MAX_MESSAGE {
            return &message[..at];
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use std::io;

    use towerkit_core::{BoxError, RejectionReason};

    use super::*;

    #[test]
    fn every_code_comes_back_as_it_was() {
        for code in ErrorCode::ALL {
            let status = status(RpcError::new(code, "told to fail"));
            assert_eq!(status.code() as u16, code.number());
            let from_wire = Status::new(status.code(), status.message());
            let error = rpc_error(from_wire);
            assert_eq!((error.code(), &*error.message()), (code, "told to fail"));
        }
        assert_eq!(rpc_error(Status::ok("")).code(), ErrorCode::Unknown);
    }

    #[test]
    fn pushback_is_rounded_up_and_within_31_bits() {
        let table = [
            (Duration::ZERO, "1"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_millis(7), "7"),
            (Duration::new(1, 1), "1001"),
            (Duration::MAX, "2147483647"),
        ];
        for (wait, text) in table {
            let error = RpcError::new(ErrorCode::Unavailable, "").with_retry_after(wait);
            assert_eq!(status(error).metadata().get(PUSHBACK).unwrap(), text);
        }
    }

    #[test]
    fn pushback_is_read_as_specified() {
        let table = [
            ("0", Some(Duration::ZERO)),
            ("1500", Some(Duration::from_millis(1500))),
            ("-1", Some(Duration::MAX)),
            ("soon", Some(Duration::MAX)),
            ("", Some(Duration::MAX)),
        ];
        for (text, wait) in table {
            let mut status = Status::unavailable("");
            status
                .metadata_mut()
                .insert(PUSHBACK, text.parse().unwrap());
            assert_eq!(rpc_error(status).retry_after(), wait, "{text}");
        }
        assert_eq!(rpc_error(Status::unavailable("")).retry_after(), None);
    }

    #[test]
    fn a_rejection_is_sent_with_its_headers_and_found_in_the_source() {
        for reason in RejectionReason::ALL {
            let rejection = Rejection::new(reason, "test")
                .with_retry_after(Duration::from_secs(3))
                .with_header("www-authenticate", "Bearer")
                .with_header("x-evil", "a\r\nb");
            let status = status(rejection);
            assert_eq!(status.code() as u16, ErrorCode::from(reason).number());
            assert_eq!(status.message(), reason.message());
            assert_eq!(status.metadata().len(), 2);
            let error = rpc_error(status);
            assert_eq!(error.rejection().unwrap().reason(), reason);
        }
    }

    /// GR-03
    #[test]
    fn a_long_message_is_cut_between_characters() {
        let table = [
            ("a".repeat(1 << 16), MAX_MESSAGE),
            ("%".repeat(1 << 16), MAX_MESSAGE / 3),
            ("é".repeat(1 << 16), MAX_MESSAGE / 6 * 2),
            ("🦀".repeat(1 << 16), MAX_MESSAGE / 12 * 4),
            ("a".repeat(MAX_MESSAGE), MAX_MESSAGE),
            ("short".to_owned(), 5),
        ];
        for (message, length) in table {
            let cut = cut(&message);
            assert_eq!(cut.len(), length);
            assert!(message.starts_with(cut));
        }
    }

    fn of(error: impl Into<BoxError>) -> RpcError {
        rpc_error(Status::from_error(error.into()))
    }

    #[test]
    fn an_error_of_the_transport_is_unavailable_and_does_not_show_its_text() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let error = of(reset());
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert_eq!(error.message(), "the upstream is unavailable");
        assert!(!error.is_unsent());
        let source = causes(&error).last().unwrap();
        assert_eq!(source.to_string(), reset().to_string());
    }

    #[test]
    fn an_error_before_the_request_is_unsent() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(of(refused()).is_unsent());
        let no_route = io::Error::from(io::ErrorKind::HostUnreachable);
        let error = of(ConnectError(no_route.into()));
        assert!(error.is_unsent());
        assert_eq!(error.code(), ErrorCode::Unavailable);
    }

    #[test]
    fn the_timer_of_tonic_is_a_deadline() {
        assert_eq!(of(TimeoutExpired(())).code(), ErrorCode::DeadlineExceeded);
    }
}
