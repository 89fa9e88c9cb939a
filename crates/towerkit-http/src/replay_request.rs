//! The implementations of [`InspectResult`] and [`ReplayRequest`] for HTTP and gRPC.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method, Request, Response, header, request::Parts};
use towerkit_core::{CallEnd, InspectResult, Pushback, ReplayRequest};

use crate::{
    ClassifyHead, Grpc, GrpcExchange, Http, HttpExchange, InspectError, OperationName, ReplayBody,
    ResponseHead, errors,
    grpc::{self, is_grpc},
    headers,
};

macro_rules! inspect_results {
    ([$($generics:tt)*] $exchange:ty, $inspect:expr) => {
        impl<B, E, K: InspectError<E>, $($generics)*> InspectResult<Response<B>, E> for $exchange {
            const DETECTS_UNSENT: bool = true;

            fn inspect(&self, result: &Result<Response<B>, E>) -> CallEnd {
                match result {
                    Ok(response) => $inspect(self, ResponseHead::of(response)),
                    Err(error) => errors::call_end::<K, E>(error),
                }
            }

            fn pushback(&self, result: &Result<Response<B>, E>) -> Option<Pushback> {
                pushback(result.as_ref().ok()?.headers())
            }

            fn is_unsent(&self, result: &Result<Response<B>, E>) -> bool {
                result.as_ref().is_err_and(errors::is_unsent::<K, E>)
            }

            fn header<'a>(&self, result: &'a Result<Response<B>, E>, name: &str) -> Option<&'a str> {
                result.as_ref().ok()?.headers().get(name)?.to_str().ok()
            }

            fn set_header(
                &self,
                result: &mut Result<Response<B>, E>,
                name: &'static str,
                value: &str,
            ) {
                if let Ok(response) = result {
                    headers::set(response.headers_mut(), name, value);
                }
            }

            fn insert_extension<V: Clone + Send + Sync + 'static>(
                &self,
                result: &mut Result<Response<B>, E>,
                value: V,
            ) {
                if let Ok(response) = result {
                    response.extensions_mut().insert(value);
                }
            }
        }
    };
}

inspect_results!([C: ClassifyHead, W] HttpExchange<C, K, W>, |exchange: &Self, head| exchange.read_head(head).end());
inspect_results!([] GrpcExchange<K>, |_: &Self, head| grpc::read_head(head).end());

/// A recorded request, from which further attempts are made.
pub struct RecordedRequest<B: ReplayBody> {
    head: Parts,
    body: B::Recording,
}

impl<B: ReplayBody> RecordedRequest<B> {
    /// Makes the first attempt. Records the request unless its body is longer than `max_bytes` or than it declares.
    fn record(request: Request<B>, max_bytes: usize) -> (Request<B>, Option<Self>) {
        let max_bytes = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let content_length = headers::content_length(request.headers());
        let length = request.body().size_hint();
        let is_declared = |exact| content_length.is_none_or(|declared| declared == exact);
        if length.lower() > max_bytes || !length.exact().is_none_or(is_declared) {
            return (request, None);
        }
        let (head, body) = request.into_parts();
        let (first, body) = body.record(max_bytes, content_length);
        let attempt = Request::from_parts(head.clone(), first);
        (attempt, Some(Self { head, body }))
    }

    fn replay(&self) -> Option<Request<B>> {
        let body = B::replay(&self.body)?;
        Some(Request::from_parts(self.head.clone(), body))
    }
}

impl<B: ReplayBody> fmt::Debug for RecordedRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest").finish_non_exhaustive()
    }
}

macro_rules! replay_requests {
    ([$($generics:tt)*] $protocol:ty, $is_idempotent:expr) => {
        impl<B: ReplayBody, $($generics)*> ReplayRequest<Request<B>> for $protocol {
            type Recorded = RecordedRequest<B>;

            fn is_idempotent(&self, request: &Request<B>) -> Option<bool> {
                $is_idempotent(request)
            }

            fn record(
                &self,
                request: Request<B>,
                max_bytes: usize,
            ) -> (Request<B>, Option<RecordedRequest<B>>) {
                RecordedRequest::record(request, max_bytes)
            }

            fn replay(&self, recorded: &RecordedRequest<B>) -> Option<Request<B>> {
                recorded.replay()
            }
        }
    };
}

replay_requests!([C: Clone, O: OperationName, K, W] Http<C, O, K, W>, is_idempotent_method);
// The protocol does not tell if a gRPC method is idempotent.
replay_requests!([K] Grpc<K>, |_| None);

/// Returns true if the method is idempotent (RFC 9110, section 9.2.2), and `None` for gRPC.
fn is_idempotent_method<B>(request: &Request<B>) -> Option<bool> {
    if is_grpc(request) {
        return None;
    }
    let method = request.method();
    Some(method.is_idempotent() && *method != Method::CONNECT)
}

/// Parses `grpc-retry-pushback-ms` (gRPC proposal A6), or else `Retry-After` (RFC 9110, section 10.2.3).
fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    if let Some(value) = headers.get("grpc-retry-pushback-ms") {
        // A6: a negative or invalid value forbids a retry.
        let millis: Option<u32> = value.to_str().ok().and_then(|text| text.parse().ok());
        return Some(millis.map_or(Pushback::Never, |millis| {
            Pushback::After(Duration::from_millis(u64::from(millis)))
        }));
    }
    retry_after(headers).map(Pushback::After)
}

/// Parses `Retry-After` (RFC 9110, section 10.2.3).
#[doc(hidden)]
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // A date is compared with the wall clock. A past date asks for no delay.
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use towerkit_core::{DescribeRequest, Protocol};

    use super::*;

    fn pushback_of(name: &'static str, value: &str) -> Option<Pushback> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        pushback(&headers)
    }

    /// RT-08
    #[test]
    fn pushback_is_parsed_as_specified() {
        let seconds = |seconds| Some(Pushback::After(Duration::from_secs(seconds)));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        let table = [
            ("retry-after", "3", seconds(3)),
            ("retry-after", "0", seconds(0)),
            ("retry-after", past, seconds(0)),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
            ("retry-after", "1.5", None),
            ("retry-after", "99999999999999999999999", None),
            (
                "grpc-retry-pushback-ms",
                "50",
                Some(Pushback::After(Duration::from_millis(50))),
            ),
            ("grpc-retry-pushback-ms", "-1", Some(Pushback::Never)),
            ("grpc-retry-pushback-ms", "x", Some(Pushback::Never)),
        ];
        for (name, value, expected) in table {
            assert_eq!(pushback_of(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_future_date_asks_for_a_delay() {
        let date = SystemTime::now() + Duration::from_secs(100);
        let wait = pushback_of("retry-after", &httpdate::fmt_http_date(date));
        let Some(Pushback::After(wait)) = wait else {
            panic!("{wait:?}");
        };
        assert!((98..=100).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn a_header_set_on_a_response_can_be_read() {
        let protocol = Http::new();
        let request = Request::new(());
        let exchange = protocol.open(&request, protocol.kind(&request));
        let mut result: Result<_, io::Error> = Ok(Response::new(()));
        exchange.set_header(&mut result, "x-test", "7");
        exchange.set_header(&mut result, "no header name", "7");
        assert_eq!(exchange.header(&result, "X-Test"), Some("7"));
        assert_eq!(exchange.header(&result, "x-other"), None);
    }
}
