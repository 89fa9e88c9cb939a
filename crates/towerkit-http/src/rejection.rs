use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use towerkit_core::{Headers, Rejection, RejectionReason};

use crate::{
    Problem,
    outcome::{code_of, status_of},
};

/// Describes a rejection.
pub(crate) fn problem(reason: RejectionReason) -> Problem {
    Problem::new(status_of(reason))
        .detail(reason.message())
        .code(reason.as_str())
}

/// Answers a rejection over HTTP: a HEAD by the head alone.
pub(crate) fn over_http<B>(
    rejection: Rejection,
    is_head: bool,
    body: impl FnOnce(Bytes) -> B,
) -> Response<B> {
    let reason = rejection.reason();
    let mut response = problem(reason).answer(is_head, body);
    let headers = response.headers_mut();
    if let Some(wait) = rejection.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    let mut response = carry(rejection, response);
    if reason == RejectionReason::Unauthenticated {
        // RFC 9110, section 15.5.2: a 401 has a challenge.
        let challenges = response.headers_mut().entry(header::WWW_AUTHENTICATE);
        challenges.or_insert(HeaderValue::from_static("Bearer"));
    }
    response
}

/// Answers a rejection over gRPC: trailers only, so that all stands in the head.
pub(crate) fn over_grpc<B>(rejection: Rejection, body: impl FnOnce(Bytes) -> B) -> Response<B> {
    let reason = rejection.reason();
    let mut response = Response::new(body(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", HeaderValue::from(code_of(reason)));
    // The messages of reasons are letters and spaces, so that there is nothing to percent-encode.
    headers.insert("grpc-message", HeaderValue::from_static(reason.message()));
    if let Some(wait) = rejection.retry_after() {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        let value = HeaderValue::from(within_31_bits(millis));
        headers.insert("grpc-retry-pushback-ms", value);
    }
    carry(rejection, response)
}

/// Adds the rejection's own fields, and the rejection itself for the layers outside.
fn carry<B>(rejection: Rejection, mut response: Response<B>) -> Response<B> {
    for (name, value) in rejection.headers() {
        HeaderFields(response.headers_mut()).append(name, &value);
    }
    response.extensions_mut().insert(rejection);
    response
}

/// Whole seconds, rounded up so that a caller who waits that long is not rejected again, and at least 1.
fn seconds(wait: Duration) -> u32 {
    within_31_bits(wait.as_nanos().div_ceil(1_000_000_000))
}

/// At least 1, and no more than clients can be expected to read (RFC 9111, section 1.2.2; gRPC reads a signed number of 32 bits).
fn within_31_bits(number: u128) -> u32 {
    number.clamp(1, i32::MAX as u128) as u32
}

pub(crate) struct HeaderFields<'a>(pub(crate) &'a mut HeaderMap);

impl Headers for HeaderFields<'_> {
    fn set(&mut self, name: &'static str, value: &dyn fmt::Display) {
        if let Some((name, value)) = field(name, &value.to_string()) {
            self.0.insert(name, value);
        }
    }

    fn append(&mut self, name: &'static str, value: &dyn fmt::Display) {
        if let Some((name, value)) = field(name, &value.to_string()) {
            self.0.append(name, value);
        }
    }
}

/// Makes a header field, or nothing of a name or a value that is not fit for one.
pub(crate) fn field(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
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
    fn a_field_that_is_not_fit_for_a_header_is_left_out() {
        let rejection = Rejection::new(towerkit_core::RejectionReason::Unauthenticated, "auth")
            .with_header("WWW-Authenticate", "Bearer")
            .with_header("www-authenticate", "Basic realm=\"a\"")
            .with_header("x-evil", "a\r\nset-cookie: b")
            .with_header("not a name", "c");
        let response = carry(rejection, Response::new(()));
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        assert_eq!(challenges.iter().count(), 2);
        assert_eq!(response.headers().len(), 2);
    }
}
