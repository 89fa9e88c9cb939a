use std::any::{Any, TypeId};

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, uri::Authority};
use towerkit_core::{Deadline, TargetUri};

use crate::rejection_response::header_pair;

/// Makes the methods of [`DescribeRequest`](towerkit_core::DescribeRequest) that read or change the head of a `Request<$body>`, which are
/// the same for HTTP and gRPC.
macro_rules! describe_request_head {
    ($body:ident) => {
        fn path<'a>(&self, request: &'a http::Request<$body>) -> Option<&'a str> {
            Some(request.uri().path())
        }

        fn target<'a>(
            &self,
            request: &'a http::Request<$body>,
        ) -> Option<towerkit_core::TargetUri<'a>> {
            Some($crate::headers::target(request))
        }

        fn peer(&self, request: &http::Request<$body>) -> Option<std::net::SocketAddr> {
            $crate::PeerAddress::find(request.extensions())
        }

        fn part<'a>(
            &self,
            request: &'a http::Request<$body>,
            part: std::any::TypeId,
        ) -> Option<&'a dyn std::any::Any> {
            $crate::headers::part(request, part)
        }

        #[inline(always)]
        fn method<'a>(&self, request: &'a http::Request<$body>) -> Option<&'a str> {
            Some(request.method().as_str())
        }

        #[inline(always)]
        fn header<'a>(&self, request: &'a http::Request<$body>, name: &str) -> Option<&'a str> {
            request.headers().get(name)?.to_str().ok()
        }

        fn header_values<'a>(
            &self,
            request: &'a http::Request<$body>,
            name: &str,
            visit: &mut dyn FnMut(&'a [u8]),
        ) {
            $crate::headers::visit(request.headers(), name, visit);
        }

        fn set_header(&self, request: &mut http::Request<$body>, name: &'static str, value: &str) {
            $crate::headers::set(request.headers_mut(), name, value);
        }

        fn remove_header(&self, request: &mut http::Request<$body>, name: &'static str) {
            $crate::headers::remove(request.headers_mut(), name);
        }

        #[inline]
        fn remove_headers(
            &self,
            request: &mut http::Request<$body>,
            is_removed: &dyn Fn(&str) -> bool,
        ) {
            $crate::headers::remove_all(request.headers_mut(), is_removed);
        }

        #[inline]
        fn principal<'a>(
            &self,
            request: &'a http::Request<$body>,
        ) -> Option<&'a towerkit_core::Principal> {
            request.extensions().get()
        }

        fn set_principal(
            &self,
            request: &mut http::Request<$body>,
            principal: towerkit_core::Principal,
        ) {
            request.extensions_mut().insert(principal);
        }

        fn deadline(&self, request: &http::Request<$body>) -> Option<towerkit_core::Deadline> {
            $crate::headers::deadline(request)
        }

        fn set_deadline(
            &self,
            request: &mut http::Request<$body>,
            deadline: towerkit_core::Deadline,
        ) {
            request.extensions_mut().insert(deadline);
        }
    };
}

pub(crate) use describe_request_head;

/// Returns the part of the request head with this type, such as its [`HeaderMap`].
pub(crate) fn part<B>(request: &Request<B>, part: TypeId) -> Option<&dyn Any> {
    let parts: [&dyn Any; 4] = [
        request.headers(),
        request.extensions(),
        request.uri(),
        request.method(),
    ];
    parts.into_iter().find(|known| (*known).type_id() == part)
}

/// Returns the parts of the request target.
pub(crate) fn target<B>(request: &Request<B>) -> TargetUri<'_> {
    let uri = request.uri();
    let mut target = TargetUri::new(uri.path());
    target.scheme = uri.scheme_str();
    target.authority = uri.authority().map(Authority::as_str);
    target.query = uri.query();
    target
}

/// Returns the deadline in the extensions of the request or, without one, that of the call that sends it.
pub(crate) fn deadline<B>(request: &Request<B>) -> Option<Deadline> {
    let own = request.extensions().get().cloned();
    own.or_else(Deadline::current)
}

/// Visits every value of a header.
#[inline(always)]
pub(crate) fn visit<'a>(headers: &'a HeaderMap, name: &str, visitor: &mut dyn FnMut(&'a [u8])) {
    // Looking up a name costs more than this check.
    if headers.is_empty() {
        return;
    }
    let values = match well_known(name) {
        Some(name) => headers.get_all(name),
        None => headers.get_all(name),
    };
    for value in values {
        visitor(value.as_bytes());
    }
}

/// Returns the value of `Content-Length`.
#[inline(always)]
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Replaces all values of a header, if the name and the value are valid.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Some(name) = well_known(name) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    } else if let Some((name, value)) = header_pair(name, value) {
        headers.insert(name, value);
    }
}

/// Removes all values of a header.
#[inline(always)]
pub(crate) fn remove(headers: &mut HeaderMap, name: &'static str) {
    if headers.is_empty() {
        return;
    }
    match well_known(name) {
        Some(name) => headers.remove(name),
        None => headers.remove(name),
    };
}

/// Removes all values of the headers that `is_removed` selects by their names.
#[doc(hidden)]
pub fn remove_all(headers: &mut HeaderMap, is_removed: &dyn Fn(&str) -> bool) {
    // One at a time: nearly all requests have none of them.
    while let Some(name) = headers.keys().find(|name| is_removed(name.as_str())) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// Returns the ready-made name of a common header that the crate `http` does not know.
///
/// Such a name is looked up without parsing, and set without a copy.
#[inline(always)]
fn well_known(name: &str) -> Option<&'static HeaderName> {
    static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
    static BAGGAGE: HeaderName = HeaderName::from_static("baggage");
    static B3: HeaderName = HeaderName::from_static("b3");
    match name {
        "traceparent" => Some(&TRACEPARENT),
        "tracestate" => Some(&TRACESTATE),
        "baggage" => Some(&BAGGAGE),
        "b3" => Some(&B3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_parts_of_the_uri() {
        let parts = |uri: &str| {
            let request = Request::get(uri).body(()).unwrap();
            let TargetUri {
                scheme,
                authority,
                path,
                query,
                ..
            } = target(&request);
            let text = |part: Option<&str>| part.unwrap_or("-").to_owned();
            [text(scheme), text(authority), path.to_owned(), text(query)]
        };
        assert_eq!(parts("/a?b=c"), ["-", "-", "/a", "b=c"]);
        assert_eq!(
            parts("https://u:p@host:1/a"),
            ["https", "u:p@host:1", "/a", "-"]
        );
        assert_eq!(parts("*"), ["-", "-", "*", "-"]);
    }

    #[test]
    fn a_header_is_removed_with_all_its_values() {
        for name in ["traceparent", "tracestate", "baggage", "b3", "x-b3-traceid"] {
            let mut headers = HeaderMap::new();
            remove(&mut headers, name);
            headers.append(name, HeaderValue::from_static("a"));
            headers.append(name, HeaderValue::from_static("b"));
            headers.append("other", HeaderValue::from_static("c"));
            remove(&mut headers, name);
            assert!(!headers.contains_key(name));
            assert_eq!(headers.len(), 1);
        }
    }

    #[test]
    fn setting_a_header_replaces_all_its_values() {
        for name in ["traceparent", "tracestate", "baggage", "b3", "x-b3-traceid"] {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static("a"));
            headers.append(name, HeaderValue::from_static("b"));
            let seen = |headers: &HeaderMap| {
                let mut seen = Vec::new();
                visit(headers, name, &mut |value| seen.push(value.to_vec()));
                seen
            };
            assert_eq!(seen(&headers), [b"a", b"b"]);
            set(&mut headers, name, "not\nfit");
            assert_eq!(seen(&headers), [b"a", b"b"]);
            set(&mut headers, name, "c");
            assert_eq!(seen(&headers), [b"c"]);
            assert_eq!(headers.len(), 1);
        }
    }
}
