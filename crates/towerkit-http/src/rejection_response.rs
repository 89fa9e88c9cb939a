use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use towerkit_core::{Headers, Rejection, RejectionReason};

use crate::{
    Problem,
    outcome::{code_of, status_of},
};

/// Makes the problem details of a rejection.
pub(crate) fn problem(reason: RejectionReason) -> Problem {
    Problem::new(status_of(reason))
        .detail(reason.message())
        .code(reason.as_str())
}

/// Makes the HTTP response to a rejected call whose method is not `HEAD`.
#[doc(hidden)]
#[must_use]
pub fn rejection_response<B: From<Bytes>>(rejection: Rejection) -> Response<B> {
    http_response(rejection, false, B::from)
}

/// Makes the HTTP response to a rejected call; the response to a `HEAD` has no body.
pub(crate) fn http_response<B>(
    rejection: Rejection,
    is_head: bool,
    body: impl FnOnce(Bytes) -> B,
) -> Response<B> {
    let reason = rejection.reason();
    let mut response = problem(reason).answer(is_head, body);
    let headers = response.headers_mut();
    if let Some(wait) = rejection.retry_after() {
        headers.insert(header::RETRY_AFTER, retry_after_value(wait));
    }
    let mut response = attach(rejection, response);
    if reason == RejectionReason::Unauthenticated {
        // RFC 9110, section 15.5.2: a 401 has a challenge.
        let challenges = response.headers_mut().entry(header::WWW_AUTHENTICATE);
        challenges.or_insert(HeaderValue::from_static("Bearer"));
    }
    response
}

/// Makes the gRPC response to a rejected call: trailers only, so that the code is in the headers.
pub(crate) fn grpc_response<B>(rejection: Rejection, body: impl FnOnce(Bytes) -> B) -> Response<B> {
    let reason = rejection.reason();
    let mut response = Response::new(body(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", HeaderValue::from(code_of(reason)));
    // The messages of reasons are letters and spaces, and need no percent-encoding.
    headers.insert("grpc-message", HeaderValue::from_static(reason.message()));
    if let Some(wait) = rejection.retry_after() {
        headers.insert("grpc-retry-pushback-ms", pushback_value(wait));
    }
    attach(rejection, response)
}

/// Adds the headers of the rejection, and inserts the rejection into the extensions for outer layers.
fn attach<B>(rejection: Rejection, mut response: Response<B>) -> Response<B> {
    for (name, value) in rejection.headers() {
        ResponseHeaders(response.headers_mut()).append(name, &value);
    }
    response.extensions_mut().insert(rejection);
    response
}

/// Makes the value of `Retry-After`.
#[doc(hidden)]
#[must_use]
pub fn retry_after_value(wait: Duration) -> HeaderValue {
    HeaderValue::from(seconds(wait))
}

/// Makes the value of `grpc-retry-pushback-ms`: whole milliseconds, rounded up.
#[doc(hidden)]
#[must_use]
pub fn pushback_value(wait: Duration) -> HeaderValue {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    HeaderValue::from(within_31_bits(millis))
}

/// Returns whole seconds, at least 1, rounded up so that a caller that waits that long is admitted.
fn seconds(wait: Duration) -> u32 {
    within_31_bits(wait.as_nanos().div_ceil(1_000_000_000))
}

/// Limits a number to 1 and above, and to the range that clients read (RFC 9111, section 1.2.2; gRPC reads signed 32 bits).
fn within_31_bits(number: u128) -> u32 {
    number.clamp(1, i32::MAX as u128) as u32
}

/// The headers of a response, as policies see them.
pub(crate) struct ResponseHeaders<'a>(pub(crate) &'a mut HeaderMap);

impl Headers for ResponseHeaders<'_> {
    fn set(&mut self, name: &'static str, value: &dyn fmt::Display) {
        if let Some((name, value)) = header_pair(name, &value.to_string()) {
            self.0.insert(name, value);
        }
    }

    fn append(&mut self, name: &'static str, value: &dyn fmt::Display) {
        if let Some((name, value)) = header_pair(name, &value.to_string()) {
            self.0.append(name, value);
        }
    }
}

/// Makes a header, if the name and the value are valid.
#[doc(hidden)]
#[must_use]
pub fn header_pair(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one() {
        let table = [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(1), 1),
            (Duration::new(1, 1), 2),
            (Duration::from_millis(59_999), 60),
            (Duration::MAX, 2_147_483_647),
        ];
        for (wait, expected) in table {
            assert_eq!(seconds(wait), expected);
        }
    }

    #[test]
    fn an_invalid_header_is_left_out() {
        let rejection = Rejection::new(towerkit_core::RejectionReason::Unauthenticated, "auth")
            .with_header("WWW-Authenticate", "Bearer")
            .with_header("www-authenticate", "Basic realm=\"a\"")
            .with_header("x-evil", "a\r\nset-cookie: b")
            .with_header("not a name", "c");
        let response = attach(rejection, Response::new(()));
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        assert_eq!(challenges.iter().count(), 2);
        assert_eq!(response.headers().len(), 2);
    }
}
