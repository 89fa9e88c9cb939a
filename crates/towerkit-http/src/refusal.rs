use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Body;
use towerkit_core::{Fields, Policy, Rejection};

use crate::{
    Problem, TrackedBody,
    outcome::{code_of, status_of},
    problem,
};

/// Answers a refusal over HTTP.
pub(crate) fn over_http<B, R>(rejection: Rejection) -> Response<TrackedBody<B, R>>
where
    B: Body<Data: From<Bytes>>,
    R: Policy,
{
    let reason = rejection.reason();
    let problem = Problem::new(status_of(reason))
        .detail(reason.message())
        .code(reason.as_str());
    let mut response = Response::new(TrackedBody::of_refusal(problem.body()));
    *response.status_mut() = status_of(reason);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, problem::CONTENT_TYPE);
    if let Some(wait) = rejection.wait() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    carry(rejection, response)
}

/// Answers a refusal over gRPC: trailers only, so that all stands in the head.
pub(crate) fn over_grpc<B, R>(rejection: Rejection) -> Response<TrackedBody<B, R>>
where
    B: Body<Data: From<Bytes>>,
    R: Policy,
{
    let reason = rejection.reason();
    let mut response = Response::new(TrackedBody::of_refusal(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", HeaderValue::from(code_of(reason)));
    // The messages of reasons are letters and spaces, so that there is nothing to percent-encode.
    headers.insert("grpc-message", HeaderValue::from_static(reason.message()));
    if let Some(wait) = rejection.wait() {
        let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        headers.insert("grpc-retry-pushback-ms", HeaderValue::from(millis.max(1)));
    }
    carry(rejection, response)
}

/// Adds the rejection's own fields, and the rejection itself for the layers outside.
fn carry<B>(rejection: Rejection, mut response: Response<B>) -> Response<B> {
    for (name, value) in rejection.fields() {
        HeaderFields(response.headers_mut()).append(name, value);
    }
    response.extensions_mut().insert(rejection);
    response
}

/// Whole seconds, rounded up so that a caller who waits that long is not refused again, and at least 1.
fn seconds(wait: Duration) -> u64 {
    let whole = wait.as_secs();
    let up = u64::from(wait.subsec_nanos() > 0);
    whole.saturating_add(up).max(1)
}

pub(crate) struct HeaderFields<'a>(pub(crate) &'a mut HeaderMap);

impl HeaderFields<'_> {
    fn append(&mut self, name: &str, value: &str) {
        if let Some((name, value)) = field(name, value) {
            self.0.append(name, value);
        }
    }
}

impl Fields for HeaderFields<'_> {
    fn set(&mut self, name: &'static str, value: &dyn fmt::Display) {
        if let Some((name, value)) = field(name, &value.to_string()) {
            self.0.insert(name, value);
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
            (Duration::MAX, u64::MAX),
        ];
        for (wait, expected) in table {
            assert_eq!(seconds(wait), expected);
        }
    }

    #[test]
    fn a_field_that_is_not_fit_for_a_header_is_left_out() {
        let rejection = Rejection::new(towerkit_core::Reason::Unauthenticated, "auth")
            .field("WWW-Authenticate", "Bearer")
            .field("www-authenticate", "Basic realm=\"a\"")
            .field("x-evil", "a\r\nset-cookie: b")
            .field("not a name", "c");
        let response = carry(rejection, Response::new(()));
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        assert_eq!(challenges.iter().count(), 2);
        assert_eq!(response.headers().len(), 2);
    }
}
