//! Headers of a [`Request`](towerkit_endpoint::Request) as metadata, and the deadline in them.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tonic::metadata::MetadataMap;
use towerkit_core::parse_grpc_timeout;

/// Headers that belong to one connection or to one body, or that HTTP/2 forbids ([RFC 9113, section 8.2.2]).
///
/// [RFC 9113, section 8.2.2]: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2
const OF_ONE_HOP: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers with the prefix that gRPC reserves, which describe the call and not its transport.
const OF_CALL: [&str; 3] = [
    "grpc-previous-rpc-attempts",
    "grpc-tags-bin",
    "grpc-trace-bin",
];

/// Returns the headers that a client sends as metadata: those that describe neither a connection nor the encoding of a body.
pub(crate) fn outgoing(mut headers: HeaderMap) -> MetadataMap {
    let is_kept = |name: &HeaderName| {
        let name = name.as_str();
        let is_reserved = name.starts_with("grpc-") && !OF_CALL.contains(&name);
        !is_reserved && !OF_ONE_HOP.contains(&name)
    };
    let removed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !is_kept(name))
        .cloned()
        .collect();
    for name in removed {
        headers.remove(name);
    }
    MetadataMap::from_headers(headers)
}

/// Returns the time in [`grpc-timeout`]; `None` if it is absent or malformed.
///
/// [`grpc-timeout`]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    parse_grpc_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| {
            let name = HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_timeout_is_that_of_its_header() {
        let of = |value| timeout(&headers(&[("grpc-timeout", value)]));
        assert_eq!(of("250u"), Some(Duration::from_micros(250)));
        assert_eq!(of("soon"), None);
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    /// GR-09
    #[test]
    fn reserved_headers_and_those_of_a_connection_are_not_sent() {
        let sent = outgoing(headers(&[
            ("x-tenant", "blue"),
            ("authorization", "Bearer abc"),
            ("grpc-trace-bin", "AAA"),
            ("grpc-encoding", "gzip"),
            ("grpc-status", "0"),
            ("grpc-message", "fine"),
            ("grpc-timeout", "1S"),
            ("grpc-invented", "x"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("host", "other"),
        ]));
        let sent = sent.into_headers();
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "grpc-trace-bin", "x-tenant"]);
    }
}
